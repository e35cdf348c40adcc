"""Several checkpoints after one before: seeds, languages or steps of one training, each checked like a pair."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

from kslottery_core.checkpoints.matrix import EmbeddingMatrix
from kslottery_core.checkpoints.pair import EmbeddingPair, open_pair
from kslottery_core.errors import CheckpointError

# "checkpoint-200", "step_200", "global_step200", "iter_0000200"; not "step_5e-3", "steps_2.5" or "step_200k".
_STEP = re.compile(
    r"(?:^|[^a-z])(?:checkpoint|ckpt|(?:global[-_ ]?)?steps?|iter(?:ation)?)[-_ =]?(\d+)(?![0-9a-z]|\.\d)"
)


@dataclass(frozen=True, eq=False)
class EmbeddingSeries:
    """One before and A after embeddings; `pairs` are the same before beside each after, in the order given.

    `labels` (A,) tell the afters apart, as short as their names allow. `steps` (A,) are training steps read from
    names such as checkpoint-200 or step_200, None where a name tells none.
    """

    pairs: tuple[EmbeddingPair, ...]
    labels: tuple[str, ...]
    steps: tuple[int | None, ...]

    @property
    def before(self) -> EmbeddingMatrix:
        """What all of them are compared with."""
        return self.pairs[0].before

    @property
    def afters(self) -> tuple[EmbeddingMatrix, ...]:
        """The A after matrices, in the order given."""
        return tuple(pair.after for pair in self.pairs)

    @property
    def width(self) -> int:
        """d, the number of coordinates of a row."""
        return self.pairs[0].width

    @property
    def vocabulary_size(self) -> int:
        """V, the number of token ids that every side has."""
        return min(pair.vocabulary_size for pair in self.pairs)

    @property
    def tokens(self) -> tuple[str, ...]:
        """A readable label of each common token id, (V,)."""
        return self.pairs[0].tokens[: self.vocabulary_size]

    @property
    def token_kinds(self) -> tuple[str, ...]:
        """The kind of each common token id, (V,): see `TOKEN_KINDS`."""
        return self.pairs[0].token_kinds[: self.vocabulary_size]

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the person: what holds for every after once, what holds for some with their labels."""
        sayers: dict[str, list[str]] = {}
        for pair, label in zip(self.pairs, self.labels, strict=True):
            for note in pair.notes:
                sayers.setdefault(note, []).append(label)
        notes = [
            note if len(labels) == len(self.pairs) else f"{', '.join(labels)}: {note}"
            for note, labels in sayers.items()
        ]
        if len({pair.vocabulary_size for pair in self.pairs}) > 1:
            notes.append(
                f"The checkpoints have different numbers of rows; the {self.vocabulary_size:,} that all of them have "
                "are compared."
            )
        return tuple(notes)


def open_series(
    before: str | Path,
    afters: Sequence[str | Path],
    *,
    parameter: str | None = None,
    before_revision: str | None = None,
    after_revisions: Sequence[str | None] = (),
    description_folders: Sequence[Path] = (),
) -> EmbeddingSeries:
    """Open one checkpoint before and several after it; reads headers and tokenizers, no row.

    `after_revisions` belong to hub ids: none, or one for each after. The same checkpoint may be given twice.
    `description_folders` are as in `open_embedding`. Raises CheckpointError as `open_pair` does, naming which after it
    is, or when there is no after.
    """
    if not afters:
        raise CheckpointError("after: expected at least one checkpoint to compare with before, found none.")
    if after_revisions and len(after_revisions) != len(afters):
        raise CheckpointError(
            f"after: expected one revision for each of the {len(afters)} checkpoints or none at all, found "
            f"{len(after_revisions)}; repeat the id for every revision of it."
        )
    revisions = list(after_revisions) or [None] * len(afters)
    pairs: list[EmbeddingPair] = []
    for number, (after, revision) in enumerate(zip(afters, revisions, strict=True), 1):
        try:
            pair = open_pair(
                before,
                after,
                parameter=parameter,
                before_revision=before_revision,
                after_revision=revision,
                description_folders=description_folders,
            )
        except CheckpointError as problem:
            if len(afters) == 1:
                raise
            raise CheckpointError(f"after number {number}: {problem}") from None
        # One before for all: its tokenizer and its fingerprint are then read once.
        pairs.append(EmbeddingPair(pairs[0].before, pair.after) if pairs else pair)
    names = [
        f"{after}@{revision}" if revision else str(after) for after, revision in zip(afters, revisions, strict=True)
    ]
    return EmbeddingSeries(tuple(pairs), make_labels(names), tuple(find_step(name) for name in names))


def find_step(name: str) -> int | None:
    """The training step that a checkpoint's name tells, the last folder first: checkpoint-200, step_200, ...; or None.

    Bare numbers and numbers with a unit are not guessed at.
    """
    for part in reversed(re.split(r"[/\\@]", name.lower())):
        found = _STEP.findall(part)
        if found:
            return int(found[-1])
    return None


def make_labels(names: Sequence[str]) -> tuple[str, ...]:
    """As few path components as tell the names apart, without the end that all of them share; repeats are numbered."""
    parts = [_split(name) for name in names]
    distinct = set(parts)
    shortest = min(map(len, distinct))
    tail = 0
    while len(distinct) > 1 and tail < shortest - 1 and len({part[-1 - tail] for part in distinct}) == 1:
        tail += 1
    kept = {part: part[: len(part) - tail] for part in distinct}
    taken = 1
    while len({part[-taken:] for part in kept.values()}) < len(distinct):
        taken += 1
    bare = ["/".join(kept[part][-taken:]) for part in parts]
    seen: Counter[str] = Counter()
    labels = []
    for label in bare:
        seen[label] += 1
        labels.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return tuple(labels)


def _split(name: str) -> tuple[str, ...]:
    return tuple(part for part in PurePath(name).parts if part != "/") or (name,)
