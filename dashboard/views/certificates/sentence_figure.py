"""One certified sentence as HTML: every token by its role, and under each prediction its margin and the bound."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from dashboard.palette import MARK, SERIES, WINNER
from dashboard.wording import NOT_DEFINED, ROLE_NAMES, format_number

if TYPE_CHECKING:
    from kslottery_core.certification import Certification, PredictedSequence

VERDICT_SIGNS = {"violation": "✕", "certified": "✓", "open": "○"}
"""Below a prediction: certified and violated, certified, not certified."""


@dataclass(frozen=True)
class ShownToken:
    """A token as its label shows it, and its role: "ticket", "left_behind" or "unchanged"."""

    label: str
    role: str


@dataclass(frozen=True)
class ShownPrediction:
    """A predicted token of the text, with what both models predict there.

    `predicted` and `partial` are their top tokens' labels; `margin` is the first minus the second probability, None
    where the logits are not numbers; `bound` is 2 * sum of D over `left_behind` tokens; `level` is the title of the
    first level that certifies it.
    """

    token: ShownToken
    position: int
    predicted: str
    partial: str
    agrees: bool
    first_probability: float | None
    second_probability: float | None
    margin: float | None
    bound: float
    left_behind: int
    level: str | None

    @property
    def verdict(self) -> str:
        """A key of `VERDICT_SIGNS`."""
        if self.level is None:
            return "open"
        return "certified" if self.agrees else "violation"


@dataclass(frozen=True)
class SentenceStory:
    """A prompt and the predicted tokens after it."""

    prompt: tuple[ShownToken, ...]
    predictions: tuple[ShownPrediction, ...]


@dataclass(frozen=True)
class SentenceNumbers:
    """One sentence in a list: `number` counts from 1, `spare` is the smallest margin minus its bound, None where no
    margin is a number."""

    number: int
    text: str
    predictions: int
    certified: int
    violations: int
    spare: float | None


def summarise_sentences(certification: Certification, text: str) -> list[SentenceNumbers]:
    """Every sentence with the numbers by which a sentence is chosen, in the order of the text."""
    found = []
    for number, sentence in enumerate(certification.sentences, start=1):
        sequence = sentence.get_sequence(text)
        # The levels are not nested: each may certify what the others do not.
        certified = np.any([_find_certified(sequence, level.name) for level in certification.levels], axis=0)
        spare = (sequence.margins - 2 * np.array(sequence.counts, dtype=float) / certification.width).tolist()
        defined = [value for value in spare if value == value]
        found.append(
            SentenceNumbers(
                number=number,
                text=sentence.source,
                predictions=len(sequence.predicted),
                certified=int(certified.sum()),
                violations=int((certified & ~_find_agreed(sequence)).sum()),
                spare=min(defined, default=None),
            )
        )
    return found


def _find_certified(sequence: PredictedSequence, level: str) -> np.ndarray:
    certified = np.zeros(len(sequence.predicted), dtype=bool)
    certified[np.array(sequence.levels.get(level, ()), dtype=np.int64) - sequence.start] = True
    return certified


def _find_agreed(sequence: PredictedSequence) -> np.ndarray:
    return np.array(sequence.predicted) == np.array(sequence.partial_predicted)


def summarise_sentence(certification: Certification, number: int, text: str) -> SentenceStory:
    """The story of one sentence (`number` from 1) in its "reference" or "output"."""
    sequence = certification.sentences[number - 1].get_sequence(text)
    tokens = {token.token_id: ShownToken(token.label, token.role) for token in certification.tokens}
    margins, agreed = sequence.margins, _find_agreed(sequence)
    certified = {level.title: _find_certified(sequence, level.name) for level in certification.levels}
    predictions = []
    for at, token_id in enumerate(sequence.token_ids[sequence.start :]):
        predictions.append(
            ShownPrediction(
                token=tokens[token_id],
                position=sequence.start + at,
                predicted=tokens[sequence.predicted[at]].label,
                partial=tokens[sequence.partial_predicted[at]].label,
                agrees=bool(agreed[at]),
                first_probability=sequence.first_probabilities[at],
                second_probability=sequence.second_probabilities[at],
                margin=None if np.isnan(margins[at]) else float(margins[at]),
                bound=2 * sequence.counts[at] / certification.width,
                left_behind=sequence.left_behind[at],
                level=next((title for title, found in certified.items() if found[at]), None),
            )
        )
    return SentenceStory(
        tuple(tokens[token_id] for token_id in sequence.token_ids[: sequence.start]), tuple(predictions)
    )


def sentence_figure(story: SentenceStory) -> str:
    """HTML with its own style, for light and dark backgrounds; every text in it is escaped."""
    prompt = "".join(_draw_token(token) + ("<br>" if token.label.endswith("↵") else "") for token in story.prompt)
    cells = "".join(_draw_prediction(prediction) for prediction in story.predictions)
    text = f'<p class="ksc-prompt">{prompt}</p><div class="ksc-cells">{cells}</div>'
    return f'{_STYLE}<div class="ksc">{_LEGEND}{text}</div>'


def _draw_token(token: ShownToken) -> str:
    role = escape(ROLE_NAMES.get(token.role, token.role))
    return f'<bdi class="ksc-token ksc-{escape(token.role)}" title="{role}">{escape(token.label)}</bdi>'


def _draw_prediction(shown: ShownPrediction) -> str:
    margin = 0.0 if shown.margin is None else min(max(shown.margin, 0.0), 1.0)
    beyond = shown.bound > 1
    others = []
    if shown.predicted != shown.token.label:
        others.append(f'<span class="ksc-other">tuned: <bdi>{escape(shown.predicted)}</bdi></span>')
    if not shown.agrees:
        others.append(f'<span class="ksc-other ksc-differs">partial: <bdi>{escape(shown.partial)}</bdi></span>')
    bound = "" if not shown.bound else f'<i class="ksc-bound" style="left:{100 * min(shown.bound, 1.0):.1f}%"></i>'
    return (
        f'<div class="ksc-cell ksc-is-{shown.verdict}" title="{escape(describe_prediction(shown))}">'
        f"{_draw_token(shown.token)}"
        f'<span class="ksc-track"><i class="ksc-margin" style="width:{100 * margin:.1f}%"></i>{bound}</span>'
        f'<span class="ksc-numbers">{_format_share(shown.margin)} | {shown.bound:.2f}{" ▸" if beyond else ""}</span>'
        f'<span class="ksc-numbers">{VERDICT_SIGNS[shown.verdict]} {escape(shown.level or "not certified")}</span>'
        f"{''.join(others)}</div>"
    )


def _format_share(value: float | None) -> str:
    return NOT_DEFINED if value is None else f"{value:.2f}"


def describe_prediction(shown: ShownPrediction) -> str:
    """The prediction in sentences, as plain text."""
    says = f"Embedding-tuned model: {shown.predicted} ({format_number(shown.first_probability)}), then "
    says += f"{format_number(shown.second_probability)}."
    partial = "the same" if shown.agrees else shown.partial
    certified = "Not certified" if shown.level is None else f"Certified: {shown.level}"
    ending = "; a violation." if shown.verdict == "violation" else "."
    return (
        f"{says} Partial model: {partial}. Margin {format_number(shown.margin)}, bound {format_number(shown.bound)} "
        f"from {shown.left_behind} tokens left behind. {certified}{ending}"
    )


_ORANGE, _SKY, _ = SERIES  # as margins and bounds have them in their picture
_STYLE = f"""<style>
.ksc {{ font-size: 0.95rem; line-height: 1.9; }}
.ksc-legend {{ display: flex; flex-wrap: wrap; gap: 0.3rem 1.4rem; margin-bottom: 0.6rem; font-size: 0.85rem; }}
.ksc-prompt {{ margin: 0 0 0.8rem 0; overflow-wrap: anywhere; }}
.ksc-token {{ padding: 0 0.12em 0.05em; margin-right: 0.1em; white-space: pre-wrap; }}
.ksc-ticket {{ background: rgba(0, 158, 115, 0.22); border-bottom: 3px solid {WINNER}; }}
.ksc-left_behind {{ background: rgba(230, 159, 0, 0.2); border-bottom: 3px dashed {_ORANGE}; }}
.ksc-unchanged {{ border-bottom: 3px dotted rgba(138, 143, 152, 0.6); }}
.ksc-cells {{ display: flex; flex-wrap: wrap; gap: 0.5rem 0.45rem; }}
.ksc-cell {{ display: inline-flex; flex-direction: column; align-items: flex-start; min-width: 6.2rem; max-width: 14rem;
  padding: 0.15rem 0.4rem 0.25rem; border: 1px solid rgba(138, 143, 152, 0.45); border-radius: 0.4rem;
  overflow-wrap: anywhere; }}
.ksc-is-violation {{ border: 3px double {MARK}; }}
.ksc-is-certified {{ border: 2px solid {_SKY}; }}
.ksc-track {{ position: relative; display: block; width: 100%; height: 0.55rem; margin-top: 0.3rem;
  background: rgba(138, 143, 152, 0.28); }}
.ksc-margin {{ position: absolute; left: 0; top: 0; height: 100%; background: {_SKY}; }}
.ksc-is-open .ksc-margin {{ background:
  repeating-linear-gradient(135deg, #8A8F98 0 4px, rgba(138, 143, 152, 0.5) 4px 7px); }}
.ksc-bound {{ position: absolute; top: -0.2rem; height: 0.95rem; margin-left: -2px;
  border-left: 3px solid {_ORANGE}; }}
.ksc-numbers {{ font-size: 0.78rem; line-height: 1.5; white-space: nowrap; font-variant-numeric: tabular-nums; }}
.ksc-other {{ font-size: 0.78rem; line-height: 1.4; opacity: 0.85; }}
.ksc-differs {{ font-weight: 600; opacity: 1; }}
.ksc-key {{ display: inline-block; position: relative; width: 2.4rem; height: 0.55rem;
  background: rgba(138, 143, 152, 0.28); }}
</style>"""

_LEGEND = (
    '<div class="ksc-legend">'
    + "".join(
        f'<span><span class="ksc-token ksc-{role}">token</span> {name}</span>' for role, name in ROLE_NAMES.items()
    )
    + f"<span>{VERDICT_SIGNS['certified']} certified</span><span>{VERDICT_SIGNS['open']} not certified</span>"
    f"<span>{VERDICT_SIGNS['violation']} violation: certified, yet different</span>"
    '<span><span class="ksc-key"><i class="ksc-margin" style="width:60%"></i></span> margin, 0 to 1</span>'
    '<span><span class="ksc-key"><i class="ksc-bound" style="left:70%"></i></span> bound (▸ beyond 1)</span>'
    "<span>numbers: margin | bound</span>"
    "<span>tuned, partial: what that model predicts instead of the token above</span></div>"
)
