"""Two checkpoints side by side: what can be compared, and what a person should know about it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path, PurePath

from kslottery_core.checkpoints.matrix import EmbeddingMatrix
from kslottery_core.checkpoints.opening import open_embedding
from kslottery_core.checkpoints.token_strings import label_tokens
from kslottery_core.errors import CheckpointError


@dataclass(frozen=True, eq=False)
class EmbeddingPair:
    """The input embeddings of two checkpoints of one model family: equal width d, the first V ids in common."""

    before: EmbeddingMatrix
    after: EmbeddingMatrix

    @property
    def width(self) -> int:
        """d, the number of coordinates of a row."""
        return self.before.shape[1]

    @property
    def vocabulary_size(self) -> int:
        """V, the number of token ids that both sides have."""
        return min(self.before.shape[0], self.after.shape[0])

    @property
    def only_before(self) -> range:
        """Token ids that only `before` has; empty when it has no more rows than `after`."""
        return range(self.vocabulary_size, self.before.shape[0])

    @property
    def only_after(self) -> range:
        """Token ids that only `after` has; empty when it has no more rows than `before`."""
        return range(self.vocabulary_size, self.after.shape[0])

    @property
    def tied(self) -> bool | None:
        """Whether `before` shares its input and output embedding; None when it cannot tell."""
        return self.before.tied

    @property
    def tokens(self) -> tuple[str, ...]:
        """A readable label of each common token id, (V,)."""
        return self._labels[0]

    @property
    def token_kinds(self) -> tuple[str, ...]:
        """The kind of each common token id, (V,): see `TOKEN_KINDS`."""
        return self._labels[1]

    @cached_property
    def _labels(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        before, after = self.before.token_strings, self.after.token_strings
        strings = before or after
        if before is not None and after is not None:
            # A token that only one side names (a spare row put to use in tuning) keeps its name.
            strings = tuple(one or other for one, other in zip_longest(before, after, fillvalue=""))
        special_ids = self.before.special_token_ids | self.after.special_token_ids
        return label_tokens(strings, special_ids, self.vocabulary_size)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the person about what was compared."""
        return tuple(_collect_notes(self))


def open_pair(
    before: str | Path,
    after: str | Path,
    *,
    parameter: str | None = None,
    before_revision: str | None = None,
    after_revision: str | None = None,
    description_folders: Sequence[Path] = (),
) -> EmbeddingPair:
    """Open two checkpoints for comparison; reads headers and tokenizers, no row.

    `description_folders` are as in `open_embedding`. Raises CheckpointError when a side cannot be opened, the widths d
    differ, or an id means two different tokens.
    """
    pair = EmbeddingPair(
        *(
            open_embedding(source, parameter=parameter, revision=revision, description_folders=description_folders)
            for source, revision in ((before, before_revision), (after, after_revision))
        )
    )
    if pair.before.shape[1] != pair.after.shape[1]:
        raise CheckpointError(
            f"Expected two checkpoints of equal embedding width, found {pair.before.shape[1]} in {pair.before.source} "
            f"and {pair.after.shape[1]} in {pair.after.source}; compare a model with its own tuned version."
        )
    _check_tokenizers(pair)
    return pair


def _check_tokenizers(pair: EmbeddingPair) -> None:
    before, after = pair.before.token_strings, pair.after.token_strings
    if before is None or after is None or before == after:
        return
    size = min(len(before), len(after), pair.vocabulary_size)
    suspects = _find_differing(before, after, size)
    if suspects:
        # Formats write one token in several ways (GGUF stores added tokens byte-encoded): labels are the meaning.
        shown_before, _ = label_tokens(before, pair.before.special_token_ids, size)
        shown_after, _ = label_tokens(after, pair.after.special_token_ids, size)
        suspects = [token_id for token_id in suspects if shown_before[token_id] != shown_after[token_id]]
    if suspects:
        first = suspects[0]
        raise CheckpointError(
            f"The tokenizers differ: token id {first} is {shown_before[first]!r} in {pair.before.source} and "
            f"{shown_after[first]!r} in {pair.after.source} ({len(suspects):,} of {size:,} ids differ); rows can only "
            "be compared between checkpoints with the same vocabulary."
        )


def _find_differing(before: Sequence[str], after: Sequence[str], size: int) -> list[int]:
    return [
        token_id
        for token_id in range(size)
        if before[token_id] != after[token_id] and before[token_id] and after[token_id]
    ]


def _collect_notes(pair: EmbeddingPair) -> list[str]:
    before, after = pair.before, pair.after
    notes = [*before.notes, *(note for note in after.notes if note not in before.notes)]
    names = before.parameter if before.parameter == after.parameter else f"{before.parameter} and {after.parameter}"
    notes.append(f"Compared the tensor {names}: {pair.vocabulary_size:,} rows of {pair.width:,} coordinates.")
    if before.dtype != after.dtype:
        notes.append(
            f"The rows are stored as {before.dtype} before and {after.dtype} after; they are compared after exact "
            "widening, so rounding to the narrower type counts as a change."
        )
    for rows, side, other in ((pair.only_before, before, "after"), (pair.only_after, after, "before")):
        if len(rows):
            notes.append(
                f"{len(rows):,} rows (token ids {rows.start:,} to {rows.stop - 1:,}) exist only in {side.source}, not "
                f"in the {other} checkpoint, and are not compared."
            )
    if pair.tied:
        notes.append(
            "Input and output embedding are tied (one matrix). Training it as one moves every row through the output "
            "head; runs started here change the input rows and leave the head as it was."
        )
    elif pair.tied is None:
        notes.append("Whether input and output embedding are tied cannot be told from what was given.")
    if before.token_strings is None and after.token_strings is None:
        notes.append(before.token_table.note or "There is no tokenizer, so tokens are shown by their id.")
    elif before.token_strings is None or after.token_strings is None:
        bare, source = (before, after.source) if before.token_strings is None else (after, before.source)
        notes.append(f"{bare.source} comes without a readable tokenizer; its tokens are named by that of {source}.")
    if before.file_signature == after.file_signature:
        notes.append("Before and after are the same files, so no row differs.")
    return notes


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
