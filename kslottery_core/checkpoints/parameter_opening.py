"""Open the matrices of whatever a person names."""

from functools import partial
from pathlib import Path

from kslottery_core.checkpoints.adapter import ADAPTER_WEIGHTS
from kslottery_core.checkpoints.base_model import OpenBase, explain_base
from kslottery_core.checkpoints.gguf_parameters import open_gguf_parameters
from kslottery_core.checkpoints.hub import HubFiles
from kslottery_core.checkpoints.matrix import RowReader
from kslottery_core.checkpoints.merged_parameters import open_adapter_parameters
from kslottery_core.checkpoints.opening import DEEPEST_BASE, open_embedding
from kslottery_core.checkpoints.parameters import ModelParameters, describe_left_out, split_by_dimension
from kslottery_core.checkpoints.row_readers import check_matrix, replace_rows
from kslottery_core.checkpoints.sources import ADAPTER_CONFIG, TICKET_FILES, Source, find_source
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
