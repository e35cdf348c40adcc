"""Single predictions that a reader should see: violations, and those that some larger ticket changes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TokenProbability:
    """A token and the probability that a model gives it; None where that is no number."""

    token_id: int
    label: str
    probability: float | None


@dataclass(frozen=True)
class LeftBehindToken:
    """A token of the input whose changed row is not in the ticket; `count` is k = d * D."""

    token_id: int
    label: str
    count: int


@dataclass(frozen=True)
class Violation:
    """A prediction that a level certifies and for which the partial model differs all the same.

    `sentence` and `position` count from 0; `position` is that of the predicted token in the sequence's tokens.
    `text` says which sequence: "reference" or "output". `levels` are those that certified it.
    """

    text: str
    sentence: int
    position: int
    levels: tuple[str, ...]
    reference_top: tuple[TokenProbability, ...]
    partial_top: tuple[TokenProbability, ...]
    first_probability: float
    second_probability: float
    counts: int
    left_behind: tuple[LeftBehindToken, ...]


@dataclass(frozen=True)
class LostPrediction:
    """A prediction whose larger tickets were all run, and that one of them does not keep.

    `text`, `sentence` and `position` are those of a `Violation`. `predicted` is the embedding-tuned model's token.
    `margin` is its logit minus the largest other one, `least_margin` the least value of that over all these models, in
    logits; None where it is no number. `kept_before` are the tokens whose rows stay as they were in the model that
    takes the least margin. One that stays just above 0 is lost to the allowance for rounding.
    """

    text: str
    sentence: int
    position: int
    token_id: int
    label: str
    margin: float | None
    least_margin: float | None
    kept_before: tuple[LeftBehindToken, ...]


@dataclass(frozen=True)
class LargerTickets:
    """How far every larger ticket was tried with one ticket, over predictions of reference translations, and over
    steps of outputs.

    `not_tried`: more tokens are left behind than the limit. `lost`: all larger tickets were run, and one of them does
    not keep the prediction. Every prediction that is defined is certified, lost or not tried. `listed` are lost ones
    of both texts, up to a fixed number; the counts are complete.
    """

    not_tried: int
    lost: int
    output_steps_not_tried: int
    output_steps_lost: int
    listed: tuple[LostPrediction, ...] = ()
