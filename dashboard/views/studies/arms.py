"""The ways of tuning that a study may compare: ticked one by one, each with its learning rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.controls.fields import KEEP, read_text
from dashboard.wording import CORRECTION_NAMES, FREQUENCY_NAMES, format_number, shorten
from kslottery_core.errors import StudyError
from kslottery_core.tuning.settings import DEFAULT_LEARNING_RATES, TRAINED_METHODS

if TYPE_CHECKING:
    from kslottery_core.studies import RowRule, StudyArm


def name_field(kind: str, arm: str) -> str:
    """The key of what the form asks for an arm: `arm` whether it is ticked, `rates` its learning rates."""
    return f"study_{kind}_{arm}"


def split_list(text: str) -> tuple[str, ...]:
    """The parts of a text with commas between them, without white space around them."""
    return tuple(part.strip() for part in text.replace(";", ",").split(",") if part.strip())


def read_numbers(key: str, words: str, *, whole: bool = False) -> tuple:
    """The numbers of a field, int where `whole`, else float; none where it is empty. Raises StudyError."""
    kind = "whole numbers" if whole else "numbers"
    numbers = []
    for part in split_list(read_text(key)):
        try:
            numbers.append(int(part) if whole else float(part))
        except ValueError:
            raise StudyError(
                f"The {words}: expected {kind} with commas between them, found {shorten(part)!r}; correct it."
            ) from None
    return tuple(numbers)


def read_optional_number(key: str) -> int | None:
    """A whole number, None where the field is empty."""
    value = st.session_state.get(key)
    return None if value is None else int(value)


def read_required_number(key: str, words: str) -> int:
    """A whole number. Raises StudyError where the field is empty."""
    value = read_optional_number(key)
    if value is None:
        raise StudyError(f"The {words} is missing; fill it in.")
    return value


@dataclass(frozen=True)
class ArmChoice:
    """One line of the form; `rule` says how rows are chosen, where the method has rows."""

    key: str
    title: str
    explanation: str
    method: str
    rule: str | None = None

    @property
    def is_trained(self) -> bool:
        """Whether it has learning rates."""
        return self.method in TRAINED_METHODS


ARM_CHOICES = (
    ArmChoice("base", "Base model", "The model as it is, to start from.", "base"),
    ArmChoice("full", "Full fine-tuning", "Every weight: the usual yardstick.", "full"),
    ArmChoice(
        "embedding", "Embedding tuning", "All rows of the input embedding. KS tickets are read from it.", "embedding"
    ),
    ArmChoice("ks", "KS ticket", "Partial Tuning of the rows that win: the paper's method.", "ticket", "ks"),
    ArmChoice(
        "transfer", "KS ticket, copied", "Partial Transfer: the winning rows as tuned, no training.", "transfer", "ks"
    ),
    ArmChoice("frequent", "Most frequent rows", "Is it only that frequent tokens win?", "ticket", "frequent"),
    ArmChoice("random", "Random rows", "Would any rows do?", "ticket", "random"),
    ArmChoice("matched", "Random, as frequent", "Other rows than the ticket's, as frequent.", "ticket", "matched"),
    ArmChoice("prompt", "Rows of the prompt", "The tokens that stand around every sentence.", "ticket", "prompt"),
    ArmChoice("lora", "LoRA", "Small matrices beside the linear layers.", "lora"),
    ArmChoice("prefix", "Prefix tuning", "Trained positions before the text.", "prefix"),
)
_TICKED = ("base", "embedding", "ks", "frequent", "random")


def suggest_arm_entries(significance_level: float, correction: str) -> dict[str, object]:
    """What the fields begin with, by key: the methods' usual learning rates, and alpha as it stands."""
    entries: dict[str, object] = {
        "study_levels": format_number(significance_level, 6),
        "study_top": "",
        "study_correction": correction,
        "study_count": None,
        "study_counted": "training",
    }
    for arm in ARM_CHOICES:
        entries[name_field("arm", arm.key)] = arm.key in _TICKED
        if arm.is_trained:
            entries[name_field("rates", arm.key)] = format_number(DEFAULT_LEARNING_RATES[arm.method], 6)
    return entries


def show_arms() -> None:
    """A line an arm; below them how the rows of tickets are chosen."""
    heading, rates, _ = st.columns([2.2, 1.6, 4])
    heading.markdown("**Compare**")
    rates.markdown("**Learning rates**", help="One or several, with commas between them: 0.001, 0.01")
    for arm in ARM_CHOICES:
        tick, rates, words = st.columns([2.2, 1.6, 4], vertical_alignment="center")
        ticked = tick.checkbox(arm.title, key=name_field("arm", arm.key), **KEEP)
        if arm.is_trained:
            rates.text_input(
                f"Learning rates of {arm.title}",
                key=name_field("rates", arm.key),
                label_visibility="collapsed",
                disabled=not ticked,
                **KEEP,
            )
        words.caption(arm.explanation)
    st.markdown("**Rows of the tickets**")
    level, top, correction, count, counted = st.columns(5, vertical_alignment="bottom")
    level.text_input(
        "KS tickets at α",
        key="study_levels",
        placeholder="none",
        help="Every number makes an arm of its own: 0.05, 0.5. The rows are found anew for every seed, number of steps "
        "and language, by comparing the model with the study's own embedding tuning.",
        **KEEP,
    )
    top.text_input(
        "KS tickets of the largest D",
        key="study_top",
        placeholder="none",
        help="How many tokens, however small their D is; every number makes an arm of its own: 20, 100.",
        **KEEP,
    )
    correction.selectbox(
        "Correction for many tests",
        list(CORRECTION_NAMES),
        format_func=CORRECTION_NAMES.__getitem__,
        key="study_correction",
        **KEEP,
    )
    count.number_input(
        "Frequent or random rows",
        min_value=1,
        value=None,
        step=1,
        key="study_count",
        placeholder="as the ticket",
        help="How many of them. Empty: as many as the first KS ticket has, each time.",
        **KEEP,
    )
    counted.selectbox(
        "Frequent by",
        list(FREQUENCY_NAMES),
        format_func=FREQUENCY_NAMES.__getitem__,
        key="study_counted",
        help="In training the model also reads the prompt around every pair, and special tokens.",
        **KEEP,
    )


def build_arms() -> tuple[StudyArm, ...]:
    """The arms that are ticked, in the order of the form. Raises KSLotteryError with one sentence."""
    from kslottery_core.studies import StudyArm

    arms = []
    for arm in ARM_CHOICES:
        if not st.session_state.get(name_field("arm", arm.key)):
            continue
        rates = _read_rates(arm) if arm.is_trained else ()
        for ending, rows in _list_rows(arm):
            arms.append(StudyArm(arm.title + ending, arm.method, rows, rates))
    if not arms:
        raise StudyError("Nothing is ticked; choose at least one way of tuning to compare.")
    return tuple(arms)


def _read_rates(arm: ArmChoice) -> tuple[float, ...]:
    rates = read_numbers(name_field("rates", arm.key), f"learning rates of {arm.title}")
    if not rates:
        raise StudyError(f"The learning rate of {arm.title} is missing; fill one in, or several with commas.")
    return rates


def _list_rows(arm: ArmChoice) -> list[tuple[str, RowRule | None]]:
    """The rules of one line of the form, each with what its label gets: a KS line makes an arm a threshold."""
    from kslottery_core.studies import RowRule

    if arm.rule is None:
        return [("", None)]
    if arm.rule == "ks":
        correction = read_text("study_correction") or "none"
        levels = read_numbers("study_levels", "α of the KS tickets")
        sizes = read_numbers("study_top", "numbers of tokens with the largest D", whole=True)
        if not levels and not sizes:
            raise StudyError(
                "The α of the KS tickets is missing; give one, or how many tokens with the largest D to take."
            )
        rules: list[tuple[str, RowRule | None]] = [
            (f", α {format_number(level, 6)}", RowRule("ks", significance_level=level, correction=correction))
            for level in levels
        ]
        return rules + [(f", {size:,} largest D", RowRule("ks", top_k=int(size))) for size in sizes]
    counted = read_text("study_counted") or "training"
    if arm.rule == "frequent":
        return [("", RowRule(arm.rule, count=read_optional_number("study_count"), counted=counted))]
    if arm.rule == "random":
        return [("", RowRule(arm.rule, count=read_optional_number("study_count")))]
    if arm.rule == "matched":
        return [("", RowRule(arm.rule, counted=counted))]
    return [("", RowRule(arm.rule))]
