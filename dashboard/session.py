"""What the person chose, kept for the session and in the page's address, so that a link restores what was shown.

The choice lives in `st.session_state` under names that no widget owns; widgets are filled from it and write to it. The
address is read when a session starts, when the page changes and when the browser goes back, never in between: a rerun
may still carry an address from before the last click, and reading that would undo the click.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from dashboard.loaders import AlphaChoice, PairChoice

LEAST_SIGNIFICANCE_LEVEL = 1e-12
LARGEST_SIGNIFICANCE_LEVEL = 0.999

CORRECTIONS = ("none", "bonferroni", "holm", "bh")
P_VALUE_METHODS = ("exact", "asymptotic")

_MOST_TOKENS_IN_ADDRESS = 50


@dataclass(frozen=True)
class Choice:
    """Everything that an address restores. `previous_alpha` is not in the address: it is what alpha was last."""

    pair: PairChoice = field(default_factory=PairChoice)
    alpha: AlphaChoice = field(default_factory=AlphaChoice)
    previous_alpha: AlphaChoice | None = None
    token_ids: tuple[int, ...] = ()
    run_id: str | None = None
    compared_runs: tuple[str, ...] = ()


_STATE = "kslottery.choice"
_PAGE = "kslottery.page"
_PROBLEMS = "kslottery.address_problems"
_RESTORED = "kslottery.times_restored"

_ADDRESS_FIELDS = {
    "pair": {name: name.replace("_", "-") for name in (entry.name for entry in fields(PairChoice))},
    "alpha": {"significance_level": "alpha", "correction": "correction", "p_value_method": "p"},
}


def get_choice() -> Choice:
    """What is chosen at present."""
    return st.session_state.get(_STATE, Choice())


def set_pair(pair: PairChoice) -> None:
    """Choose two checkpoints; tokens picked from another pair are dropped, since ids mean other tokens there."""
    choice = get_choice()
    if pair != choice.pair:
        st.session_state[_STATE] = replace(choice, pair=pair, token_ids=(), previous_alpha=None)


def set_alpha(**changes: Any) -> None:
    """Change parts of the rule (fields of `AlphaChoice`) and remember the rule before the change."""
    choice = get_choice()
    alpha = replace(choice.alpha, **changes)
    if alpha != choice.alpha:
        st.session_state[_STATE] = replace(choice, alpha=alpha, previous_alpha=choice.alpha)


def set_tokens(token_ids: Sequence[int]) -> None:
    """Choose the tokens whose story is shown."""
    st.session_state[_STATE] = replace(get_choice(), token_ids=tuple(dict.fromkeys(token_ids)))


def set_run(run_id: str | None) -> None:
    """Choose the run that is shown in full."""
    st.session_state[_STATE] = replace(get_choice(), run_id=run_id)


def set_compared_runs(run_ids: Sequence[str]) -> None:
    """Choose the runs that are set side by side; none chosen means all of them."""
    st.session_state[_STATE] = replace(get_choice(), compared_runs=tuple(run_ids))


def build_address(choice: Choice, page: str) -> dict[str, str]:
    """The query parameters which restore `choice` on `page`; what has its default value is left out."""
    address = {}
    for part, names in _ADDRESS_FIELDS.items():
        value, default = getattr(choice, part), getattr(Choice(), part)
        for field_name, parameter in names.items():
            chosen = getattr(value, field_name)
            if chosen not in (None, getattr(default, field_name)):
                address[parameter] = f"{chosen:.6g}" if isinstance(chosen, float) else str(chosen)
    if page == "tokens" and choice.token_ids:
        address["tokens"] = ",".join(str(token_id) for token_id in choice.token_ids[:_MOST_TOKENS_IN_ADDRESS])
    if page == "runs" and choice.run_id:
        address["run"] = choice.run_id
    if page == "compare" and choice.compared_runs:
        address["runs"] = ",".join(choice.compared_runs)
    return address


def read_address(address: dict[str, str], choice: Choice) -> tuple[Choice, tuple[str, ...]]:
    """Apply query parameters to a choice. Returns it with one sentence for each value that cannot be used."""
    problems = []
    pair_names = {parameter: field_name for field_name, parameter in _ADDRESS_FIELDS["pair"].items()}
    pair_values = {pair_names[name]: text for name, text in address.items() if name in pair_names and text.strip()}
    if pair_values:
        pair = PairChoice(**pair_values)
        if pair != choice.pair:
            choice = replace(choice, pair=pair, token_ids=(), previous_alpha=None)
    alpha = choice.alpha
    if "alpha" in address:
        level = _read_level(address["alpha"])
        if level is None:
            problems.append(
                f"The address asks for α = {address['alpha']}; expected a number from {LEAST_SIGNIFICANCE_LEVEL:g} to "
                f"{LARGEST_SIGNIFICANCE_LEVEL:g}, so α stays at {alpha.significance_level:g}."
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
                    f"The address asks for {parameter} = {address[parameter]}; expected one of {', '.join(known)}."
                )
    choice = replace(choice, alpha=alpha)
    if "tokens" in address:
        parts = [part.strip() for part in address["tokens"].split(",") if part.strip()]
        wrong = [part for part in parts if not part.isdecimal()]
        if wrong:
            problems.append(f"The address asks for token {wrong[0]!r}; expected token ids, whole numbers from 0.")
        choice = replace(choice, token_ids=tuple(dict.fromkeys(int(part) for part in parts if part.isdecimal())))
    if address.get("run"):
        choice = replace(choice, run_id=address["run"])
    if "runs" in address:
        choice = replace(choice, compared_runs=tuple(part for part in address["runs"].split(",") if part))
    return choice, tuple(problems)


def _read_level(text: str) -> float | None:
    try:
        level = float(text)
    except ValueError:
        return None
    return level if LEAST_SIGNIFICANCE_LEVEL <= level <= LARGEST_SIGNIFICANCE_LEVEL else None


def restore_choice(page: str) -> None:
    """Take over the address when the session starts, another page opens or the browser goes back; say what is wrong."""
    address, went_back = st.query_params.to_dict(), _is_history_navigation()
    if went_back or st.session_state.get(_PAGE) != page:
        st.session_state[_PAGE] = page
        choice = get_choice()
        if went_back and address:
            choice = forget_addressed(choice, page, address)
        st.session_state[_STATE], st.session_state[_PROBLEMS] = read_address(address, choice)
        st.session_state[_RESTORED] = count_restored() + 1
    for problem in st.session_state.get(_PROBLEMS, ()):
        st.warning(problem)


def _is_history_navigation() -> bool:
    """Whether this run answers the browser's Back or Forward; then the address is the newest word there is."""
    context = get_script_run_ctx()
    return bool(context is not None and getattr(context, "is_history_navigation", False))


def forget_addressed(choice: Choice, page: str, address: dict[str, str]) -> Choice:
    """Put what the address of `page` would hold back to its defaults: what it leaves out had its default then."""
    names_pair = not address.keys().isdisjoint(_ADDRESS_FIELDS["pair"].values())
    if not names_pair and choice.pair != PairChoice():
        choice = replace(choice, pair=PairChoice(), token_ids=())
    choice = replace(choice, alpha=AlphaChoice(), previous_alpha=None)
    cleared: dict[str, Any] = {"tokens": {"token_ids": ()}, "runs": {"run_id": None}, "compare": {"compared_runs": ()}}
    return replace(choice, **cleared.get(page, {}))


def count_restored() -> int:
    """How often the choice came from the address; part of the keys of tables, whose ticks must then start anew."""
    return st.session_state.get(_RESTORED, 0)


def write_address() -> None:
    """Put the present choice into the address of the page that is open."""
    address = build_address(get_choice(), st.session_state.get(_PAGE, ""))
    if st.query_params.to_dict() != address:
        st.query_params.from_dict(address)
