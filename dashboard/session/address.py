"""From a choice to the query parameters of an address, and back. Knows no Streamlit."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.session.certificate_address import build_certificate_address, read_certificate_address
from dashboard.session.choice import (
    LARGEST_SIGNIFICANCE_LEVEL,
    LEAST_SIGNIFICANCE_LEVEL,
    SEARCH_MODES,
    CertificateView,
    Choice,
    ScanView,
    SeriesView,
    StudyView,
    TokenFilter,
)
from dashboard.session.page_address import (
    build_scan_address,
    build_series_address,
    build_study_address,
    read_scan_address,
    read_series_address,
    read_study_address,
)
from dashboard.wording import KIND_NAMES, shorten
from kslottery_core.ks import P_VALUE_METHODS
from kslottery_core.tickets import CORRECTIONS

_MOST_ID_DIGITS = 9  # no vocabulary needs more, and Python refuses to read thousands
_MOST_TOKENS_IN_ADDRESS = 50

_ADDRESS_FIELDS = {
    "pair": {name: name.replace("_", "-") for name in (entry.name for entry in fields(PairChoice))},
    "alpha": {"significance_level": "alpha", "correction": "correction", "p_value_method": "p"},
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
                address[parameter] = f"{chosen:.6g}" if isinstance(chosen, float) else str(chosen)
    if page in ("tokens", "checkpoints") and choice.token_ids:
        address["tokens"] = ",".join(str(token_id) for token_id in choice.token_ids[:_MOST_TOKENS_IN_ADDRESS])
    if page == "tokens":
        address |= _build_filter_address(choice.token_filter)
    if page == "layers":
        address |= build_scan_address(choice.scan)
    if page == "checkpoints":
        address |= build_series_address(choice.series)
    if page == "certificates":
        address |= build_certificate_address(choice.certificate)
    if page == "runs" and choice.run_id:
        address["run"] = choice.run_id
    if page == "compare" and choice.compared_runs:
        address["runs"] = ",".join(choice.compared_runs)
    if page == "studies":
        address |= build_study_address(choice.study)
    if page in ("compare", "studies") and choice.measure:
        address["score"] = choice.measure
    return address


def _build_filter_address(wanted: TokenFilter) -> dict[str, str]:
    default = TokenFilter()
    parts = {
        "search": wanted.search,
        "in": wanted.mode if wanted.mode != default.mode else "",
        "kinds": ",".join(wanted.kinds),
        "winners": "yes" if wanted.winners_only else "",
        "changed": "yes" if wanted.changed_only else "",
    }
    return {name: text for name, text in parts.items() if text}


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
                f"{alpha.significance_level:g}."
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
                problems.append(
                    f"The address asks for {parameter} = {shorten(address[parameter])}; expected one of "
                    f"{', '.join(known)}."
                )
    choice = replace(choice, alpha=alpha)
    if "tokens" in address:
        parts = [part.strip() for part in address["tokens"].split(",") if part.strip()]
        ids = {part: read_token_id(part) for part in parts}
        wrong = [part for part, token_id in ids.items() if token_id is None]
        if wrong:
            problems.append(
                f"The address asks for token {shorten(wrong[0])!r}; expected token ids, whole numbers from 0."
            )
        choice = replace(
            choice, token_ids=tuple(dict.fromkeys(token_id for token_id in ids.values() if token_id is not None))
        )
    wanted, wrong_filters = _read_filter(address, choice.token_filter)
    scan, wrong_scan = read_scan_address(address, choice.scan)
    series, wrong_series = read_series_address(address, choice.series)
    study = read_study_address(address, choice.study)
    certificate, wrong_certificate = read_certificate_address(address, choice.certificate)
    choice = replace(choice, token_filter=wanted, scan=scan, series=series, study=study, certificate=certificate)
    problems = [*problems, *wrong_filters, *wrong_scan, *wrong_series, *wrong_certificate]
    if address.get("run"):
        choice = replace(choice, run_id=address["run"])
    if "runs" in address:
        choice = replace(choice, compared_runs=tuple(part for part in address["runs"].split(",") if part))
    if address.get("score"):
        choice = replace(choice, measure=address["score"])
    return choice, tuple(problems)


def _read_filter(address: dict[str, str], wanted: TokenFilter) -> tuple[TokenFilter, list[str]]:
    problems = []
    if "search" in address:
        wanted = replace(wanted, search=address["search"])
    if address.get("in") in SEARCH_MODES:
        wanted = replace(wanted, mode=address["in"])
    elif "in" in address:
        problems.append(
            f"The address asks for in = {shorten(address['in'])}; expected one of {', '.join(SEARCH_MODES)}."
        )
    if "kinds" in address:
        kinds = [kind for kind in address["kinds"].split(",") if kind]
        unknown = [kind for kind in kinds if kind not in KIND_NAMES]
        if unknown:
            problems.append(
                f"The address asks for tokens of kind {shorten(unknown[0])!r}; expected some of "
                f"{', '.join(KIND_NAMES)}."
            )
        wanted = replace(wanted, kinds=tuple(dict.fromkeys(kind for kind in kinds if kind in KIND_NAMES)))
    for name, field_name in (("winners", "winners_only"), ("changed", "changed_only")):
        if name in address:
            wanted = replace(wanted, **{field_name: address[name] == "yes"})
            if address[name] not in ("yes", "no"):
                problems.append(f"The address asks for {name} = {shorten(address[name])}; expected yes or no.")
    return wanted, problems


def read_level(text: str) -> float | None:
    try:
        level = float(text)
    except ValueError:
        return None
    return level if LEAST_SIGNIFICANCE_LEVEL <= level <= LARGEST_SIGNIFICANCE_LEVEL else None


def forget_addressed(choice: Choice, page: str, address: dict[str, str]) -> Choice:
    """Put what the address of `page` would hold back to its defaults: what it leaves out had its default then."""
    names_pair = not address.keys().isdisjoint(_ADDRESS_FIELDS["pair"].values())
    if not names_pair and choice.pair != PairChoice():
        choice = choice.turn_to(PairChoice())
    choice = replace(choice, alpha=AlphaChoice(), previous_alpha=None)
    cleared: dict[str, Any] = {
        "tokens": {"token_ids": (), "token_filter": TokenFilter()},
        "layers": {"scan": ScanView()},
        "checkpoints": {"token_ids": (), "series": SeriesView()},
        "certificates": {"certificate": CertificateView()},
        "runs": {"run_id": None},
        "studies": {"study": StudyView(), "measure": None},
        "compare": {"compared_runs": (), "measure": None},
    }
    return replace(choice, **cleared.get(page, {}))
