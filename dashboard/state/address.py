"""From a choice to the query parameters of an address, and back. Knows no Streamlit."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.state.address_problem import describe_unknown
from dashboard.state.certificate_address import build_certificate_address, read_certificate_address
from dashboard.state.choice import (
    LARGEST_SIGNIFICANCE_LEVEL,
    LEAST_SIGNIFICANCE_LEVEL,
    MOST_PICKED,
    CertificatesView,
    CheckpointsView,
    Choice,
    LayersView,
    OverlapView,
    StoryView,
    StudiesView,
    TokenFilter,
    TokenMapView,
    TokenOrder,
    TokenText,
)
from dashboard.state.page_address import (
    build_scan_address,
    build_series_address,
    build_study_address,
    read_scan_address,
    read_series_address,
    read_study_address,
)
from dashboard.state.report_address import build_report_address, forget_report, read_report_address
from dashboard.state.story_address import build_story_address, read_story_address
from dashboard.state.token_address import (
    build_filter_address,
    build_order_address,
    build_overlap_address,
    build_token_text_address,
    read_filter_address,
    read_order_address,
    read_overlap_address,
    read_token_text_address,
)
from dashboard.state.token_map_address import build_token_map_address, read_token_map_address
from dashboard.wording import format_level, shorten
from kslottery_core.ks import P_VALUE_METHODS
from kslottery_core.tickets import CORRECTIONS

_MOST_ID_DIGITS = 9  # no vocabulary needs more, and Python refuses to read thousands
_GROUPED = re.compile(r"\d{1,3}(?:([, ])\d{3})(?:\1\d{3})*")

_ADDRESS_FIELDS = {
    "pair": {name: name.replace("_", "-") for name in (entry.name for entry in fields(PairChoice))},
    "alpha": {"significance_level": "alpha", "correction": "correction", "p_value_method": "p", "top_k": "top"},
}


def read_token_id(text: str) -> int | None:
    """A token id, or None for what is none, thousands of digits too."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_ID_DIGITS else None


def build_address(choice: Choice, page: str) -> dict[str, str]:
    """The query parameters which restore `choice` on `page`; what has its default value is left out."""
    address = {}
    for part, names in _ADDRESS_FIELDS.items():
        value, default = getattr(choice, part), getattr(Choice(), part)
        for field_name, parameter in names.items():
            chosen = getattr(value, field_name)
            if chosen not in (None, getattr(default, field_name)):
                address[parameter] = str(chosen)  # all digits of a float: fewer could be another ticket
    if page in ("tokens", "checkpoints", "report") and choice.token_ids:
        address["tokens"] = ",".join(str(token_id) for token_id in choice.token_ids[:MOST_PICKED])
    if page == "tokens":
        address |= build_filter_address(choice.token_filter) | build_order_address(choice.token_order)
        address |= build_token_text_address(choice.token_text) | build_overlap_address(choice.overlap)
        address |= build_token_map_address(choice.token_map)
        address |= build_story_address(choice.story)
    if page == "layers":
        address |= build_scan_address(choice.layers)
    if page == "checkpoints":
        address |= build_series_address(choice.checkpoints)
    if page == "certificates":
        address |= build_certificate_address(choice.certificates)
    if page == "report":
        address |= build_report_address(choice)
    if page == "runs" and choice.run_id:
        address["run"] = choice.run_id
    if page in ("compare", "report") and choice.compared_runs:
        address["runs"] = ",".join(choice.compared_runs)
    if page == "studies":
        address |= build_study_address(choice.studies)
    if page in ("compare", "studies", "report") and choice.measure:
        address["score"] = choice.measure
    return address


def read_address(address: dict[str, str], choice: Choice) -> tuple[Choice, tuple[str, ...]]:
    """Apply query parameters to a choice. Returns it with one sentence for each value that cannot be used."""
    problems = []
    pair_names = {parameter: field_name for field_name, parameter in _ADDRESS_FIELDS["pair"].items()}
    pair_values = {pair_names[name]: text for name, text in address.items() if name in pair_names and text.strip()}
    if pair_values:
        choice = choice.turn_to(PairChoice(**pair_values))
    alpha = choice.alpha
    if "alpha" in address:
        level = read_level(address["alpha"])
        if level is None:
            problems.append(
                f"The address asks for α = {shorten(address['alpha'])}; expected a number from "
                f"{LEAST_SIGNIFICANCE_LEVEL:g} to {LARGEST_SIGNIFICANCE_LEVEL:g}, so α stays at "
                f"{format_level(alpha.significance_level)}."
            )
        else:
            alpha = replace(alpha, significance_level=level)
    for parameter, field_name, known in (
        ("correction", "correction", CORRECTIONS),
        ("p", "p_value_method", P_VALUE_METHODS),
    ):
        if parameter in address:
            if address[parameter] in known:
                alpha = replace(alpha, **{field_name: address[parameter]})
            else:
                problems.append(describe_unknown(parameter, address[parameter], known))
    if "top" in address:
        top_k = read_top_k(address["top"])
        if top_k is None:
            problems.append(
                f"The address asks for the {shorten(address['top'])!r} tokens with the largest D; expected a whole "
                "number "
                "from 1."
            )
        else:
            alpha = replace(alpha, top_k=top_k)
    elif "alpha" in address:
        alpha = replace(alpha, top_k=None)
    choice = replace(choice, alpha=alpha)
    if "tokens" in address:
        parts = [part.strip() for part in address["tokens"].split(",") if part.strip()]
        ids = {part: read_token_id(part) for part in parts}
        wrong = [part for part, token_id in ids.items() if token_id is None]
        if wrong:
            problems.append(
                f"The address asks for token {shorten(wrong[0])!r}; expected token ids, whole numbers from 0."
            )
        token_ids = tuple(dict.fromkeys(token_id for token_id in ids.values() if token_id is not None))
        if len(token_ids) > MOST_PICKED:
            problems.append(
                f"The address asks for {len(token_ids):,} tokens; no more than {MOST_PICKED} are picked together, so "
                f"the first {MOST_PICKED} are taken."
            )
        choice = replace(choice, token_ids=token_ids[:MOST_PICKED])
    wanted, wrong_filters = read_filter_address(address, choice.token_filter)
    order, wrong_order = read_order_address(address, choice.token_order)
    overlap, wrong_overlap = read_overlap_address(address, choice.overlap)
    text = read_token_text_address(address, choice.token_text)
    choice = replace(choice, token_order=order, token_text=text, overlap=overlap)
    token_map, wrong_map = read_token_map_address(address, choice.token_map)
    story, wrong_story = read_story_address(address, choice.story)
    choice = replace(choice, token_map=token_map, story=story)
    scan, wrong_scan = read_scan_address(address, choice.layers)
    series, wrong_series = read_series_address(address, choice.checkpoints)
    study = read_study_address(address, choice.studies)
    certificate, wrong_certificate = read_certificate_address(address, choice.certificates)
    report, wrong_report = read_report_address(address, choice.report)
    choice = replace(
        choice, token_filter=wanted, layers=scan, checkpoints=series, studies=study, certificates=certificate
    )
    choice = replace(choice, report=report)
    problems = [
        *problems,
        *wrong_filters,
        *wrong_order,
        *wrong_overlap,
        *wrong_map,
        *wrong_story,
        *wrong_scan,
        *wrong_series,
        *wrong_certificate,
        *wrong_report,
    ]
    if address.get("run"):
        choice = replace(choice, run_id=address["run"])
    if "runs" in address:
        choice = replace(choice, compared_runs=tuple(part for part in address["runs"].split(",") if part))
    if address.get("score"):
        choice = replace(choice, measure=address["score"])
    return choice, tuple(problems)


def read_level(text: str) -> float | None:
    """A significance level that can be set; None for what is no number or beyond the least or the largest."""
    try:
        level = float(text)
    except ValueError:
        return None
    return level if LEAST_SIGNIFICANCE_LEVEL <= level <= LARGEST_SIGNIFICANCE_LEVEL else None


def read_top_k(text: str) -> int | None:
    """A number of tokens, from 1; thousands may be set apart by commas or spaces. None for what is no such number."""
    text = text.strip()
    if _GROUPED.fullmatch(text):
        text = re.sub(r"[, ]", "", text)
    return (read_token_id(text) or None) if text.isascii() else None


def forget_addressed(choice: Choice, page: str, address: dict[str, str]) -> Choice:
    """Put what the address of `page` would hold back to its defaults: what it leaves out had its default then."""
    names_pair = not address.keys().isdisjoint(_ADDRESS_FIELDS["pair"].values())
    if not names_pair and choice.pair != PairChoice():
        choice = choice.turn_to(PairChoice())
    choice = replace(choice, alpha=AlphaChoice(), previous_alpha=None)
    if page == "report":
        return forget_report(choice)
    cleared: dict[str, Any] = {
        "tokens": {
            "token_ids": (),
            "token_filter": TokenFilter(),
            "token_order": TokenOrder(),
            "token_text": TokenText(),
            "overlap": OverlapView(),
            "token_map": TokenMapView(),
            "story": StoryView(),
        },
        "layers": {"layers": LayersView()},
        "checkpoints": {"token_ids": (), "checkpoints": CheckpointsView()},
        "certificates": {"certificates": CertificatesView()},
        "runs": {"run_id": None},
        "studies": {"studies": StudiesView(), "measure": None},
        "compare": {"compared_runs": (), "measure": None},
    }
    return replace(choice, **cleared.get(page, {}))
