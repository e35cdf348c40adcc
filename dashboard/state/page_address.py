"""What the pages Layers, Checkpoints and Studies put into the address, and how it is read back. Knows no Streamlit."""

from __future__ import annotations

from dataclasses import replace

from dashboard.state.address_problem import describe_unknown
from dashboard.state.choice import CheckpointsView, LayersView, StudiesView
from dashboard.wording import MEASURE_NAMES, UNIT_NAMES

_MOST_CHECKPOINTS = 64
_LONGEST_NAME = 400


def build_scan_address(view: LayersView) -> dict[str, str]:
    """The query parameters of the Layers page; what has its default value is left out."""
    default = LayersView()
    parts = {
        "unit": view.unit if view.unit != default.unit else "",
        "matrices": view.pattern if view.pattern != default.pattern else "",
        "colour": view.measure if view.measure != default.measure else "",
        "scale": "log" if view.log_scale else "",
        "matrix": view.parameter or "",
    }
    return {name: text for name, text in parts.items() if text}


def read_scan_address(address: dict[str, str], view: LayersView) -> tuple[LayersView, list[str]]:
    """Apply query parameters; returns the view with one sentence for each value that cannot be used."""
    problems = []
    for parameter, field_name, known in (("unit", "unit", UNIT_NAMES), ("colour", "measure", MEASURE_NAMES)):
        if address.get(parameter) in known:
            view = replace(view, **{field_name: address[parameter]})
        elif parameter in address:
            problems.append(describe_unknown(parameter, address[parameter], known))
    if "scale" in address:
        view = replace(view, log_scale=address["scale"] == "log")
        if address["scale"] not in ("log", "linear"):
            problems.append(describe_unknown("scale", address["scale"], ("log", "linear")))
    if address.get("matrices", "").strip():
        view = replace(view, pattern=address["matrices"].strip()[:_LONGEST_NAME])
    if address.get("matrix"):
        view = replace(view, parameter=address["matrix"][:_LONGEST_NAME])
    return view, problems


def build_series_address(view: CheckpointsView) -> dict[str, str]:
    """The query parameters of the Checkpoints page: one checkpoint a line, as they are typed there."""
    address = {"checkpoints": "\n".join(view.sources)} if view.sources else {}
    return address | ({"steps": "log"} if view.log_steps else {})


def read_series_address(address: dict[str, str], view: CheckpointsView) -> tuple[CheckpointsView, list[str]]:
    """Apply query parameters; returns the view with one sentence for each value that cannot be used."""
    problems = []
    if "checkpoints" in address:
        sources = tuple(dict.fromkeys(line.strip() for line in address["checkpoints"].splitlines() if line.strip()))
        if len(sources) > _MOST_CHECKPOINTS:
            problems.append(
                f"The address names {len(sources):,} checkpoints; the first {_MOST_CHECKPOINTS} of them are taken."
            )
        view = replace(view, sources=sources[:_MOST_CHECKPOINTS])
    if "steps" in address:
        view = replace(view, log_steps=address["steps"] == "log")
        if address["steps"] not in ("log", "linear"):
            problems.append(describe_unknown("steps", address["steps"], ("log", "linear")))
    return view, problems


def build_study_address(view: StudiesView) -> dict[str, str]:
    """The query parameters of the Studies page: the study and the language pair."""
    parts = {"study": view.study_id or "", "languages": view.language or ""}
    return {name: text for name, text in parts.items() if text}


def read_study_address(address: dict[str, str], view: StudiesView) -> StudiesView:
    """Apply query parameters; whether there is such a study is the page's business."""
    if address.get("study"):
        view = StudiesView(address["study"][:_LONGEST_NAME])
    if address.get("languages"):
        view = replace(view, language=address["languages"][:_LONGEST_NAME])
    return view
