"""A whole-model scan in a report, as far as it has come; a report never starts one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard import loaders
from dashboard.loaders.scan import PlannedScan, load_kept_scan, plan_scan
from dashboard.report.block import Block, Picture, Table
from dashboard.report.context import NO_PAIR, ReportContext, by_level, shorten_digest
from dashboard.state.rule import describe_rule
from dashboard.views.layers.figures import layer_map_figure, summarise_entry, summarise_layers, summarise_scan
from dashboard.views.layers.tables import build_scan_table
from dashboard.wording import MEASURE_NAMES, format_noun, format_share, name_source
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.scans import Scan

LAYER_TITLE = "Layer by matrix"


def build_layer_block(context: ReportContext) -> Block:
    """The heat map of the scan that the Layers page shows, and its table."""
    choice = context.pair
    if choice is None:
        return Block(LAYER_TITLE, problem=NO_PAIR)
    if loaders.list_downloads(choice) and not context.may_open((choice, "all weights")):
        return Block(LAYER_TITLE, problem="This pair's weights are not here; the Layers page asks to fetch them.")
    view = context.choice.layers
    try:
        plan = plan_scan(choice, view.unit, view.pattern)
        scan = load_kept_scan(plan)
    except KSLotteryError as problem:
        return Block(LAYER_TITLE, problem=str(problem))
    if scan is None or not scan.entries:
        return Block(LAYER_TITLE, problem="This model has not been scanned; press Scan the model on the Layers page.")
    return _build_found(context, plan, scan)


def _build_found(context: ReportContext, plan: PlannedScan, scan: Scan) -> Block:
    from kslottery_core.scans import describe_parameter

    view, alpha = context.choice.layers, context.choice.alpha
    rule = (alpha.significance_level, alpha.correction, alpha.p_value_method)
    matrices = [summarise_entry(entry, *rule) for entry in scan.entries]
    numbers, unit = summarise_scan(matrices), scan.spec.unit
    summary = summarise_layers(
        matrices,
        scan.skipped,
        {name: describe_parameter(name) for name in scan.remaining},
        measure=view.measure,
        unit=unit,
    )
    measure = MEASURE_NAMES[view.measure]
    paragraphs = [
        f"{numbers.compared:,} of {format_noun(len(scan.parameters), 'matrix', 'matrices')} compared, "
        f"{numbers.changed:,} changed; {numbers.winners:,} of {format_noun(numbers.units, unit)} win "
        f"({format_share(numbers.winners, numbers.units)}).",
        f"p is not calibrated (before and after are the same {unit}, moved), so read α as a dial on D; a correction is "
        "applied within each matrix. Matrices differ in width, and a wider one wins from a smaller D.",
    ]
    if scan.remaining:
        paragraphs.append(f"{format_noun(len(scan.remaining), 'matrix', 'matrices')} not scanned yet.")
    return Block(
        LAYER_TITLE,
        paragraphs=tuple(paragraphs),
        pictures=(
            Picture(
                layer_map_figure(summary, log_scale=view.log_scale),
                alt=f"{measure} of each matrix by layer",
                caption=f"{measure}, one tile a matrix",
            ),
        ),
        tables=(
            Table(
                build_scan_table(scan, *rule).rename(columns={"Share": "Share (%)"}),
                "Every matrix",
                empty="",
                decimals={"Wins from D": 4, "Largest D": 4, "Median D": 4},
            ),
        ),
        signature=f"{_sign_files(scan)}, by {unit}, {describe_rule(by_level(alpha))}",
    )


def _sign_files(scan: Scan) -> str:
    before, after = name_source(scan.spec.before), name_source(scan.spec.after)
    return f"scan {shorten_digest(scan.spec.digest)} of {before} and {after}"
