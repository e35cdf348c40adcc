"""The matrices of two checkpoints, paired by name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kslottery_core.checkpoints.adapter import ADAPTER_WEIGHTS
from kslottery_core.checkpoints.gguf_file import open_gguf_parameters
from kslottery_core.checkpoints.matrix import RowReader
from kslottery_core.checkpoints.merged_parameters import open_adapter_parameters
from kslottery_core.checkpoints.opening import DEEPEST_BASE, open_embedding
from kslottery_core.checkpoints.parameters import (
    ModelParameters,
    ParameterMatrix,
    describe_left_out,
    describe_unknown,
    split_by_dimension,
)
from kslottery_core.checkpoints.row_readers import FLOATS, check_matrix, replace_rows
from kslottery_core.checkpoints.sources import (
    ADAPTER_CONFIG,
    TICKET_FILES,
    HubFiles,
    OpenBase,
    Source,
    explain_base,
    find_source,
)
from kslottery_core.checkpoints.ticket_folder import find_ticket_base, load_ticket_rows
from kslottery_core.checkpoints.weight_files import (
    WEIGHT_FILES,
    FileSource,
    LocalFiles,
    WeightFiles,
    open_weight_file,
    open_weight_files,
)
from kslottery_core.errors import CheckpointError


def open_parameters(source: str | Path, *, revision: str | None = None) -> ModelParameters:
    """Open every two-dimensional parameter of `source` without loading the model or reading a row.

    `source` is what `open_embedding` takes. An adapter's matrices are its base's with the adapter merged, a tuned
    ticket's are its base's with the embedding rows replaced; a GGUF's carry the names that transformers gives them,
    where its architecture is known. Raises CheckpointError.
    """
    return _open(source, revision, depth=0)


def _open(source: str | Path, revision: str | None, *, depth: int) -> ModelParameters:
    if depth > DEEPEST_BASE:
        raise CheckpointError("Its base model leads back to itself; correct the base that it names.")
    found = find_source(source, revision)
    open_base = partial(_open, depth=depth + 1)
    if found.path is None:
        return _open_hub(found, open_base)
    path = found.path.resolve()  # one file is then one path, however it was named
    if found.kind == "ticket":
        return _open_ticket(found.text, path, open_base)
    if found.kind == "adapter":
        return open_adapter_parameters(found.text, path, open_base)
    if found.kind == "gguf":
        return open_gguf_parameters(found.text, path)
    if found.kind == "folder":
        files: FileSource = LocalFiles(path, found.text)
        weights = open_weight_files(files)
        assert weights is not None, "find_source saw the weights"
    else:
        files = LocalFiles(path.parent, found.text)
        weights = open_weight_file(files, path.name)
    return _open_weights(found.text, found.kind, weights)


def _open_hub(found: Source, open_base: OpenBase) -> ModelParameters:
    files = HubFiles(found.text, found.revision)
    weights = open_weight_files(files) if files.fetch("config.json") is not None else None
    if weights is None and files.fetch(ADAPTER_CONFIG) and any(files.fetch(name) for name in ADAPTER_WEIGHTS):
        assert files.folder is not None, "a file was fetched"
        return open_adapter_parameters(found.text, files.folder, open_base)
    if weights is None and files.unreachable:
        raise files.explain()
    if weights is None:
        raise CheckpointError(
            f"{files.label}: expected {' or '.join(WEIGHT_FILES[::2])} (or shards with an index), or an adapter, found "
            "neither; download the file you mean (for example a .gguf) and give its path."
        )
    return _open_weights(found.text, "hub", weights)


def _open_weights(source: str, kind: str, weights: WeightFiles) -> ModelParameters:
    order = {shard: place for place, shard in enumerate(dict.fromkeys(weights.shards.values()))}
    names = sorted(weights.names, key=lambda name: order[weights.shards[name]])  # stable: file order within a shard
    entries, left_out = split_by_dimension({name: weights.describe(name) for name in names})

    def find_problem(name: str) -> str | None:
        try:
            check_matrix(entries[name], source)
        except CheckpointError as problem:
            return str(problem)
        return None

    return ModelParameters(
        source=source,
        kind=kind,
        entries=entries,
        left_out=left_out,
        open_rows=weights.open_rows,
        files=tuple(weights.used),
        notes=describe_left_out(source, left_out),
        find_problem=find_problem,
    )


def _open_ticket(source: str, folder: Path, open_base: OpenBase) -> ModelParameters:
    base_name, revision = find_ticket_base(folder)
    try:
        base: ModelParameters = open_base(base_name, revision)
        stored = open_embedding(base_name, revision=revision).parameter
    except CheckpointError as problem:
        raise explain_base(folder, base_name, problem) from None
    embedding = next((name for name in base.names if stored in (name, base.stored_names.get(name))), stored)
    token_ids, rows = load_ticket_rows(folder)

    def open_rows(name: str) -> RowReader:
        reader = base.open_rows(name)
        return replace_rows(reader, token_ids, rows, source) if name == embedding else reader

    open_rows(embedding)  # rows that do not fit are told now
    return ModelParameters(
        source=source,
        kind="ticket",
        entries=base.entries,
        left_out=base.left_out,
        open_rows=open_rows,
        files=(*(folder / name for name in TICKET_FILES), *base.files),
        notes=(
            *base.notes,
            f"{source} is a tuned ticket on {base.source}: {len(token_ids):,} rows of {embedding} are replaced.",
        ),
        stored_names=base.stored_names,
        find_problem=base.find_problem,
    )


@dataclass(frozen=True, eq=False)
class ParameterPair:
    """Two checkpoints of one model family. `after_names` maps the name before to the name after, in the order of the
    before files; `differing` says of every other name that both sides have why it is not compared."""

    before: ModelParameters
    after: ModelParameters
    after_names: dict[str, str]
    differing: dict[str, str]
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names, as before has them, of the matrices that can be compared."""
        return tuple(self.after_names)

    def open(self, name: str) -> tuple[ParameterMatrix, ParameterMatrix]:
        """Both sides of one matrix. Raises CheckpointError for one that holds no plain numbers."""
        if name not in self.after_names:
            raise CheckpointError(self.differing.get(name) or describe_unknown(self.before, name))
        return self.before.open(name), self.after.open(self.after_names[name])

    def find_problem(self, name: str) -> str | None:
        """Why a paired matrix cannot be read as numbers on one of the sides, or None."""
        return self.before.find_problem(name) or self.after.find_problem(self.after_names[name])

    def select(self, pattern: str) -> tuple[str, ...]:
        """Names that match the glob `pattern` on either side; `*` stands for any characters, dots too.

        Raises CheckpointError when none does: it names what is near, or why what matches is not compared.
        """
        chosen = tuple(
            name
            for name, other in self.after_names.items()
            if self.before.matches(name, pattern) or self.after.matches(other, pattern)
        )
        if chosen:
            return chosen
        reasons = [reason for name, reason in self.differing.items() if self.before.matches(name, pattern)]
        if reasons:
            more = f" (and {len(reasons) - 1} more that match)" if len(reasons) > 1 else ""
            raise CheckpointError(reasons[0] + more)
        for side, other in ((self.before, self.after), (self.after, self.before)):
            alone = [name for name in side.names if side.matches(name, pattern)]
            if alone:
                raise CheckpointError(
                    f"expected {alone[0]!r} in both checkpoints, found it in {side.source} but not in {other.source}; "
                    "compare a model with its own tuned version."
                )
        raise CheckpointError(describe_unknown(self.before, pattern))


def open_parameter_pair(
    before: str | Path,
    after: str | Path,
    *,
    before_revision: str | None = None,
    after_revision: str | None = None,
) -> ParameterPair:
    """Pair the matrices of two checkpoints by name; a prefix such as "model." may be there or not. Reads no row.

    Raises CheckpointError when a side cannot be opened or the two have no matrix in common.
    """
    one = open_parameters(before, revision=before_revision)
    other = open_parameters(after, revision=after_revision)
    matched, prefixes, unclear = match_names(one.names, other.names)
    after_names, differing = {}, {}
    for name, after_name in matched.items():
        # A quantised matrix is packed into another shape; that it is quantised is what a person can act on.
        is_plain = one.find_problem(name) is None and other.find_problem(after_name) is None
        if is_plain and one.shape(name) != other.shape(after_name):
            differing[name] = (
                f"{name!r} is {_show_shape(one, name)} in {one.source} and {_show_shape(other, after_name)} in "
                f"{other.source}; only matrices of one shape can be compared."
            )
        else:
            after_names[name] = after_name
    differing |= {name: _explain_unclear(one, other, name, fits) for name, fits in unclear.items()}
    if not matched:
        reason = next((f" {differing[name]}" for name in unclear), "")
        raise CheckpointError(
            f"Expected two checkpoints of one model, found no matrix whose name both have: {one.source} has "
            f"{', '.join(one.names[:2]) or 'none'}, {other.source} has {', '.join(other.names[:2]) or 'none'}.{reason}"
        )
    pair = ParameterPair(one, other, after_names, differing, ())
    return ParameterPair(one, other, after_names, differing, tuple(_collect_notes(pair, matched, prefixes, unclear)))


def match_names(
    before: Iterable[str], after: Iterable[str]
) -> tuple[dict[str, str], tuple[str, ...], dict[str, tuple[str, ...]]]:
    """(name before -> name after, the leading parts that one side has and the other lacks, unclear name before -> the
    names after that it may stand for).

    Equal names first; what is left matches when it differs by one leading part of the dotted name alone. A name that
    fits several, or that several fit ("vision.layers.0.w" and "text.layers.0.w" both fit "layers.0.w"), is unclear: it
    is not matched.
    """
    before, after = list(before), list(after)
    left = set(after)
    matched: dict[str, str] = {}
    prefixes: dict[str, None] = {}
    for name in before:
        if name in left:
            matched[name] = name
            left.discard(name)
    heads = {name.split(".")[0] for name in after} | {name.split(".")[0] for name in before}
    fitting: dict[str, list[str]] = {}
    claims: dict[str, int] = {}
    for name in before:
        if name in matched:
            continue
        _, _, bare = name.partition(".")
        candidates = [f"{prefix}.{name}" for prefix in sorted(heads)] + ([bare] if bare else [])
        fitting[name] = [candidate for candidate in candidates if candidate in left]
        for candidate in fitting[name]:
            claims[candidate] = claims.get(candidate, 0) + 1
    unclear: dict[str, tuple[str, ...]] = {}
    for name, found in fitting.items():
        if len(found) == 1 and claims[found[0]] == 1:
            matched[name] = found[0]
            prefixes[max(name, found[0], key=len).split(".")[0]] = None
        elif found:
            unclear[name] = tuple(found)
    return {name: matched[name] for name in before if name in matched}, tuple(prefixes), unclear


def _explain_unclear(before: ModelParameters, after: ModelParameters, name: str, others: tuple[str, ...]) -> str:
    if len(others) > 1:
        fits = " and ".join(map(repr, others[:3])) + (" and more" if len(others) > 3 else "")
        return f"{name!r} in {before.source} fits {fits} in {after.source}, so it is compared with none of them."
    return (
        f"{name!r} is not the only matrix in {before.source} that fits {others[0]!r} in {after.source} but for its "
        "first part, so none of them is compared with it."
    )


def _show_shape(parameters: ModelParameters, name: str) -> str:
    rows, columns = parameters.shape(name)
    return f"{rows:,} × {columns:,}"


def _collect_notes(
    pair: ParameterPair,
    matched: Mapping[str, str],
    prefixes: tuple[str, ...],
    unclear: Mapping[str, tuple[str, ...]],
) -> list[str]:
    before, after = pair.before, pair.after
    told = set(before.notes)
    if before.left_out.keys() == after.left_out.keys():
        told.update(describe_left_out(after.source, after.left_out))  # once is enough
    notes = [*before.notes, *(note for note in after.notes if note not in told)]
    if prefixes:
        quoted = " and ".join(repr(f"{prefix}.") for prefix in prefixes)
        notes.append(f"Names are matched although only one side has the prefix {quoted}.")
    shapes = [reason for name, reason in pair.differing.items() if name not in unclear]
    notes += _shorten(shapes, "matrices have another shape on each side and are not compared")
    doubts = [reason for name, reason in pair.differing.items() if name in unclear]
    notes += _shorten(doubts, "names fit several of the other side and are not compared")
    taken = set(matched.values()).union(*unclear.values())
    for side, other, alone in (
        (before, after, [name for name in before.names if name not in matched and name not in unclear]),
        (after, before, [name for name in after.names if name not in taken]),
    ):
        if alone:
            shown = ", ".join(alone[:3]) + (", ..." if len(alone) > 3 else "")
            verb = "is" if len(alone) == 1 else "are"
            notes.append(
                f"{len(alone):,} of the {len(side.names):,} matrices in {side.source} {verb} not in {other.source} and "
                f"{verb} not compared: {shown}."
            )
    dtypes: dict[tuple[str, str], int] = {}
    for name, after_name in pair.after_names.items():
        kinds = before.dtype(name), after.dtype(after_name)
        if kinds[0] != kinds[1] and set(kinds) <= set(FLOATS):
            dtypes[kinds] = dtypes.get(kinds, 0) + 1
    for (one, other_dtype), count in dtypes.items():
        notes.append(
            f"{count:,} matri{'ces are' if count != 1 else 'x is'} stored as {one} before and {other_dtype} after, and "
            "compared after exact widening, so rounding to the narrower type counts as a change."
        )
    if before.file_signature == after.file_signature:
        notes.append("Before and after are the same files, so nothing differs.")
    return notes


def _shorten(reasons: list[str], summary: str) -> list[str]:
    return reasons if len(reasons) <= 3 else [f"{len(reasons):,} {summary}; the first: {reasons[0]}"]
