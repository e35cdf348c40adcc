"""What the Report page puts into the address, and how it is read back. Knows no Streamlit."""

from __future__ import annotations

from dataclasses import replace

from dashboard.state.address_problem import describe_refused
from dashboard.state.certificate_address import build_certificate_address
from dashboard.state.choice import (
    CertificatesView,
    CheckpointsView,
    Choice,
    LayersView,
    ReportView,
    StudiesView,
    TokenMapView,
    TokenText,
)
from dashboard.state.page_address import build_scan_address, build_series_address, build_study_address
from dashboard.state.report_words import LONGEST_TITLE
from dashboard.state.token_address import build_token_text_address
from dashboard.state.token_map_address import build_token_map_address

_NO_BLOCK = "none"
_MOST_BLOCKS = 100
_LONGEST_NAME = 40
_MOST_SLIDE_DIGITS = 4


def build_report_address(choice: Choice) -> dict[str, str]:
    """The query parameters of the Report page: title, blocks in their order, what they show of other pages' findings.

    While presenting, the slide too.
    """
    view = choice.report
    shown = CertificatesView(kind=choice.certificates.kind, log_axis=choice.certificates.log_axis)
    address = {
        **build_token_map_address(choice.token_map),
        **build_token_text_address(choice.token_text),
        **build_scan_address(choice.layers),
        **build_series_address(choice.checkpoints),
        **build_study_address(choice.studies),
        **build_certificate_address(shown),
    }
    if view.blocks is not None:
        address["blocks"] = ",".join(view.blocks) or _NO_BLOCK
    if view.title:
        address["title"] = view.title
    if view.presenting:
        address |= {"present": "yes", "slide": str(view.slide)}
    return address


def read_report_address(address: dict[str, str], view: ReportView) -> tuple[ReportView, list[str]]:
    """Apply query parameters; whether there are such blocks is the page's business."""
    problems = []
    view = replace(view, presenting=address.get("present") == "yes")  # only its own address goes on presenting
    if "blocks" in address:
        names = [name.strip()[:_LONGEST_NAME] for name in address["blocks"].split(",") if name.strip()]
        kept = dict.fromkeys(name for name in names[:_MOST_BLOCKS] if name != _NO_BLOCK)
        view = replace(view, blocks=tuple(kept))
    if "title" in address:
        view = replace(view, title=address["title"][:LONGEST_TITLE])
    if address.get("present", "no") not in ("yes", "no"):
        problems.append(describe_refused("present", address["present"], "yes or no"))
    if "slide" in address:
        text = address["slide"]
        number = int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_SLIDE_DIGITS else 0
        if number:
            view = replace(view, slide=number)
        else:
            problems.append(describe_refused("slide", text, "a whole number from 1"))
    return view, problems


def forget_report(choice: Choice) -> Choice:
    """Put what the address of the Report page would hold back to its defaults."""
    default = CertificatesView()
    return replace(
        choice,
        report=ReportView(),
        token_ids=(),
        token_map=TokenMapView(),
        token_text=TokenText(),
        compared_runs=(),
        measure=None,
        layers=LayersView(),
        checkpoints=CheckpointsView(),
        studies=StudiesView(),
        certificates=replace(choice.certificates, kind=default.kind, log_axis=default.log_axis),
    )
