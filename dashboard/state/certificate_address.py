"""What the Certificates page puts into the address, and how it is read back. Knows no Streamlit."""

from __future__ import annotations

from dataclasses import replace

from dashboard.state.address_problem import describe_refused, describe_unknown
from dashboard.state.choice import CertificatesView
from dashboard.wording import CERTIFIED_KINDS, CERTIFIED_ROWS, CERTIFIED_TEXTS

MOST_LEFT_BEHIND = 16
"""Tokens left behind up to which every larger ticket may be tried: twice as many models with each one more."""

_LONGEST_ENTRY = 2000
_ALL, _MOST = "all", 1_000_000

_ENTRIES = {
    "tokens-named": "listed",
    "text": "path",
    "from": "source",
    "to": "target",
    "from-column": "source_column",
    "to-column": "target_column",
    "prompt": "prompt",
}
_CHOICES = {
    "rows": ("rows", CERTIFIED_ROWS),
    "count": ("kind", CERTIFIED_KINDS),
    "shown": ("text", CERTIFIED_TEXTS),
}
_AXES = {"log": True, "odds": False}


def build_certificate_address(view: CertificatesView) -> dict[str, str]:
    """The query parameters of the Certificates page; what has its default value is left out."""
    default = CertificatesView()
    parts: dict[str, str | None] = {name: getattr(view, field_name) for name, field_name in _ENTRIES.items()}
    for name, (field_name, _) in _CHOICES.items():
        chosen = getattr(view, field_name)
        parts[name] = chosen if chosen != getattr(default, field_name) else None
    parts["sentences"] = None if view.limit == default.limit else str(view.limit or _ALL)
    parts["new-tokens"] = None if view.new_tokens == default.new_tokens else str(view.new_tokens)
    parts["larger-tickets"] = str(view.larger_limit) if view.larger_limit else None
    parts["sentence"] = None if view.sentence is None else str(view.sentence)
    parts["axis"] = None if view.log_axis == default.log_axis else "log" if view.log_axis else "odds"
    return {name: text for name, text in parts.items() if text}


def read_certificate_address(address: dict[str, str], view: CertificatesView) -> tuple[CertificatesView, list[str]]:
    """Apply query parameters; returns the view with one sentence for each value that cannot be used."""
    problems = []
    for name, field_name in _ENTRIES.items():
        if address.get(name, "").strip():
            view = replace(view, **{field_name: address[name].strip("\r\n")[:_LONGEST_ENTRY]})
    for name, (field_name, known) in _CHOICES.items():
        if address.get(name) in known:
            view = replace(view, **{field_name: address[name]})
        elif name in address:
            problems.append(describe_unknown(name, address[name], known))
    if address.get("axis") in _AXES:
        view = replace(view, log_axis=_AXES[address["axis"]])
    elif "axis" in address:
        problems.append(describe_unknown("axis", address["axis"], _AXES))
    if "larger-tickets" in address:
        number = _read_number(address["larger-tickets"])
        if number is None or number > MOST_LEFT_BEHIND:
            expected = f"a whole number from 1 to {MOST_LEFT_BEHIND}"
            problems.append(describe_refused("larger-tickets", address["larger-tickets"], expected))
        else:
            view = replace(view, larger_limit=number)
    for name, field_name in (("sentences", "limit"), ("new-tokens", "new_tokens"), ("sentence", "sentence")):
        if name not in address:
            continue
        number = 0 if name == "sentences" and address[name] == _ALL else _read_number(address[name])
        if number is None:
            expected = f"a whole number from 1 to {_MOST:,}" + (f", or {_ALL}" if name == "sentences" else "")
            problems.append(describe_refused(name, address[name], expected))
        else:
            view = replace(view, **{field_name: number})
    return view, problems


def _read_number(text: str) -> int | None:
    number = int(text) if text.isdecimal() and len(text) <= len(str(_MOST)) else 0
    return number if 1 <= number <= _MOST else None
