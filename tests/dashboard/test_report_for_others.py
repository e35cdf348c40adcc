import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from dashboard import loaders
from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.loaders.scan import plan_scan
from dashboard.loaders.series import load_series
from dashboard.report.context import ReportContext
from dashboard.report.html_file import build_html
from dashboard.report.html_table import format_cell
from dashboard.report.report import build_report
from dashboard.state.choice import CheckpointsView, Choice, TokenMapView
from dashboard.state.report_words import ReportWords
from dashboard.views.report.blocks import find_block
from dashboard.wording import name_source
from kslottery_core.scans import scan_parameters


def make_context(choice):
    comparison = loaders.load_comparison(choice.pair)
    selection = loaders.load_selection(comparison, choice.alpha)
    return ReportContext(choice, comparison, selection, 1_780_000_000.0, lambda wanted: False)


def build(name, context):
    return find_block(name).build(context)


@pytest.fixture
def zeroed(pair_folder, tmp_path):
    """A choice of a pair whose token 3, which wins, is a row of zeros after the tuning."""
    folder = tmp_path / "folder of mine" / "deep" / "after"
    shutil.copytree(pair_folder / "after", folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"][3] = 0
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return Choice(PairChoice(str(pair_folder / "before"), str(folder)), token_ids=(3,), alpha=AlphaChoice(0.5))


def test_a_cosine_that_is_not_defined_is_not_called_not_measured(zeroed):
    context = make_context(zeroed)
    for name in ("ticket", "tokens"):
        (table,) = build(name, context).tables
        row = table.dataframe[table.dataframe["Id"] == 3].iloc[0]
        assert format_cell(table, row["Cosine"], "Cosine") == "not defined", name
    drawn = build("map", make_context(replace(zeroed, token_map=TokenMapView("cosine")))).pictures[0]
    assert drawn.caption.startswith("63 tokens drawn;")
    assert "1 token, 1 winner among them, has no place on these axes and cannot be drawn." in drawn.caption


def test_a_report_for_others_shows_no_folders_of_this_computer(zeroed):
    choice = zeroed.pair
    context = make_context(zeroed)
    table = build("pair", context).tables[0]
    assert table.dataframe["Checkpoint"].tolist() == [name_source(choice.before), "deep/after"]
    assert all(len(value) >= 12 for value in table.dataframe["Fingerprint"]), "what tells them apart stays"
    plan = plan_scan(choice, "row", "*")
    scan_parameters(choice.before, choice.after, plan.folder)
    sources = (choice.after, str(Path(choice.before).parent / "after"))
    load_series(choice, sources)
    shown = make_context(replace(zeroed, checkpoints=CheckpointsView(sources)))
    chosen = [find_block(name) for name in ("pair", "layers", "checkpoints")]
    report = build_report(shown, chosen, "", ReportWords())
    assert [section.block.problem for section in report.sections] == [None, None, None]
    data = build_html(report).decode()
    assert "deep/after" in data
    assert str(Path(choice.after).parents[1]) not in data
    assert str(Path(choice.before).parent) not in data
