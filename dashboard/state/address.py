"""From a choice to the query parameters of an address, and back. Knows no Streamlit.

The pair stands by itself: naming another one drops what was picked inside the old. All else follows from the table.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from dashboard.loaders import PairChoice
from dashboard.state.choice import Choice
from dashboard.state.parameters import KEEP, PARAMETERS, Parameter

_PAIR = {field.name.replace("_", "-"): field.name for field in fields(PairChoice)}
_DEFAULT = Choice()


def build_address(choice: Choice, page: str) -> dict[str, str]:
    """The query parameters which restore `choice` on `page`; what has its default value is left out."""
    address = {name: text for name, field in _PAIR.items() if (text := getattr(choice.pair, field) or "")}
    for parameter in PARAMETERS:
        if not parameter.stands_on(page):
            continue
        value, wanted = parameter.get(choice), parameter.needs
        if value != parameter.get(_DEFAULT) if wanted is None else wanted(choice):
            text = parameter.write(value)  # all digits of a float: fewer could be another ticket
            if text:
                address[parameter.name] = text
    return address


def read_address(address: dict[str, str], choice: Choice) -> tuple[Choice, tuple[str, ...]]:
    """Apply query parameters to a choice. Returns it with one sentence for each value that cannot be used.

    Whether there is such a run, study, text or block is the page's business.
    """
    pair = {field: address[name] for name, field in _PAIR.items() if address.get(name, "").strip()}
    if pair:
        choice = choice.turn_to(PairChoice(**pair))
    problems: list[str] = []
    for parameter in PARAMETERS:
        if parameter.name not in address:
            value, wrong = parameter.absent, []
        else:
            value, wrong = parameter.read(parameter.name, address[parameter.name], parameter.get(choice))
            for field in parameter.clears if address[parameter.name].strip() else ():
                choice = _set(choice, parameter.part, field, _get_default(parameter.part, field))
        problems += wrong
        if value is not KEEP:
            choice = _set(choice, parameter.part, parameter.field, value)
    return choice, tuple(problems)


def forget_addressed(choice: Choice, page: str, address: dict[str, str]) -> Choice:
    """Put what the address of `page` would hold back to its defaults: what it leaves out had its default then."""
    if address.keys().isdisjoint(_PAIR) and choice.pair != PairChoice():
        choice = choice.turn_to(PairChoice())
    choice = replace(choice, previous_alpha=None)
    for parameter in PARAMETERS:
        if parameter.stands_on(page):
            choice = _reset(choice, parameter)
    return choice


def _reset(choice: Choice, parameter: Parameter) -> Choice:
    return _set(choice, parameter.part, parameter.field, parameter.get(_DEFAULT))


def _get_default(part: str | None, field: str) -> Any:
    return getattr(_DEFAULT if part is None else getattr(_DEFAULT, part), field)


def _set(choice: Choice, part: str | None, field: str, value: Any) -> Choice:
    changed = {field: value} if part is None else {part: replace(getattr(choice, part), **{field: value})}
    return replace(choice, **changed)
