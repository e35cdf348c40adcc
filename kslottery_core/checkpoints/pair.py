"""Two checkpoints side by side: what can be compared, and what a person should know about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

from kslottery_core.checkpoints.matrix import EmbeddingMatrix
from kslottery_core.checkpoints.opening import open_embedding
from kslottery_core.checkpoints.token_labels import label_tokens
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
