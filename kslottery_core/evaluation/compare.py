"""Results side by side, and whether they may stand side by side at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kslottery_core.errors import EvaluationError
from kslottery_core.evaluation.evaluate import Output
from kslottery_core.evaluation.score import Score


@dataclass(frozen=True)
class OutputRow:
    """One test sentence: source, reference, and each run's text in the order of the runs."""

    source: str
    reference: str
    texts: tuple[str, ...]


def align_outputs(outputs: Mapping[str, Sequence[Output]]) -> tuple[OutputRow, ...]:
    """Put the outputs of several runs on one test set side by side. Raises EvaluationError when the sets differ."""
    named = list(outputs.items())
    if not named:
        return ()
    first_name, first = named[0]
    for name, others in named[1:]:
        if [(o.source, o.reference) for o in others] != [(o.source, o.reference) for o in first]:
            raise EvaluationError(f"outputs: {first_name!r} and {name!r} were made on different test sets.")
    return tuple(
        OutputRow(output.source, output.reference, tuple(others[position].text for _, others in named))
        for position, output in enumerate(first)
    )


def describe_difference(one: Score, other: Score) -> str | None:
    """Why two scores must not be compared, in words, or None when they may be."""
    reasons = [
        name
        for name, mine, theirs in (
            ("metric", (one.metric, one.signature), (other.metric, other.signature)),
            ("part of the output", one.extraction, other.extraction),
            ("test set", one.test_set_hash, other.test_set_hash),
            ("prompt", one.prompt_hash, other.prompt_hash),
            ("decoding", one.decoding, other.decoding),
        )
        if mine != theirs
    ]
    return f"not comparable: they differ in {', '.join(reasons)}" if reasons else None
