"""Open the input embedding of whatever a person names."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from math import prod
from pathlib import Path

from kslottery_core.checkpoints.adapter import ADAPTER_WEIGHTS, open_adapter
from kslottery_core.checkpoints.architecture import Architecture, load_architecture
from kslottery_core.checkpoints.gguf_file import open_gguf
from kslottery_core.checkpoints.matrix import EmbeddingMatrix
from kslottery_core.checkpoints.sources import ADAPTER_CONFIG, HubFiles, Source, find_source
from kslottery_core.checkpoints.ticket_folder import open_ticket
from kslottery_core.checkpoints.token_strings import TOKENIZER_FILES, TokenTable, list_tokenizer_files, load_token_table
from kslottery_core.checkpoints.weight_files import (
    TORCH_SUFFIXES,
    WEIGHT_FILES,
    LocalFiles,
    WeightFiles,
    open_weight_file,
    open_weight_files,
)
from kslottery_core.errors import CheckpointError

DEEPEST_BASE = 8
"""An adapter on an adapter is possible; a longer chain is a base that names itself."""


def open_embedding(
    source: str | Path,
    *,
    parameter: str | None = None,
    revision: str | None = None,
    description_folders: Sequence[Path] = (),
) -> EmbeddingMatrix:
    """Open the input-embedding matrix of `source` without loading the model or reading a row.

    `source` is a model folder, a .safetensors, .bin or .gguf file, a PEFT adapter or tuned-ticket folder, or a hub id
    (`revision` belongs to it). `parameter` names the tensor where the architecture cannot tell. `description_folders`
    keep what architectures are (see `load_architecture`): one that is known opens without torch and transformers.
    Raises CheckpointError.
    """
    return _open(source, revision, parameter=parameter, descriptions=description_folders, depth=0)


def _open(
    source: str | Path, revision: str | None, *, parameter: str | None, descriptions: Sequence[Path], depth: int
) -> EmbeddingMatrix:
    if depth > DEEPEST_BASE:
        raise CheckpointError("Its base model leads back to itself; correct the base that it names.")
    found = find_source(source, revision)
    open_base = partial(_open, parameter=parameter, descriptions=descriptions, depth=depth + 1)
    path = found.path
    if path is None:
        return _open_hub(found, parameter, descriptions, open_base)
    if found.kind == "ticket":
        return open_ticket(found.text, path, open_base)
    if found.kind == "adapter":
        return open_adapter(found.text, path, open_base)
    if found.kind == "gguf":
        return open_gguf(found.text, path, parameter)
    if found.kind == "folder":
        weights = open_weight_files(LocalFiles(path, found.text))
        assert weights is not None, "find_source saw the weights"
        return _open_weights(found.text, "folder", weights, path, parameter, descriptions)
    return _open_file(found, path, parameter, descriptions)


def _open_file(found: Source, path: Path, parameter: str | None, descriptions: Sequence[Path]) -> EmbeddingMatrix:
    """A single weights file; a file that belongs to a model folder is understood through that folder's config."""
    whole = None
    if (path.parent / "config.json").is_file():
        is_alone = len(list(path.parent.glob(f"*{path.suffix}"))) == 1
        whole = open_weight_files(LocalFiles(path.parent, found.text))
        if whole is not None and path.name not in {*whole.shards.values()}:
            whole = None
        if whole is None and is_alone:
            whole = open_weight_file(LocalFiles(path.parent, found.text), path.name)
    if whole is None:
        alone = open_weight_file(LocalFiles(path.parent, found.text), path.name)
        return _open_weights(found.text, found.kind, alone, None, parameter, descriptions)
    matrix = _open_weights(found.text, found.kind, whole, path.parent, parameter, descriptions)
    if whole.shards[matrix.parameter] != path.name:
        raise CheckpointError(
            f"{found.text}: this shard holds no input embedding ({matrix.parameter!r} is in "
            f"{whole.shards[matrix.parameter]}); give the folder {path.parent} instead."
        )
    return matrix


def _open_hub(
    found: Source, parameter: str | None, descriptions: Sequence[Path], open_base: Callable[..., EmbeddingMatrix]
) -> EmbeddingMatrix:
    files = HubFiles(found.text, found.revision)
    has_config = files.fetch("config.json") is not None
    weights = open_weight_files(files) if has_config else None
    # An adapter's repository may carry its base's config.json, so weights decide.
    if weights is None and files.fetch(ADAPTER_CONFIG) and any(files.fetch(name) for name in ADAPTER_WEIGHTS):
        assert files.folder is not None, "a file was fetched"
        return open_adapter(found.text, files.folder, open_base)
    if weights is None and files.unreachable:
        raise files.explain()
    if weights is None:
        found_instead = "no weights" if has_config else "no config.json"
        raise CheckpointError(
            f"{files.label}: expected config.json with {' or '.join(WEIGHT_FILES[::2])} (or shards with an index), or "
            f"an adapter, found {found_instead}; download the file you mean (for example a .gguf) and give its path."
        )
    assert files.folder is not None, "config.json was fetched"
    return _open_weights(found.text, "hub", weights, files.folder, parameter, descriptions)


def _open_weights(
    source: str,
    kind: str,
    weights: WeightFiles,
    folder: Path | None,
    parameter: str | None,
    descriptions: Sequence[Path],
) -> EmbeddingMatrix:
    config_file = None if folder is None else weights.files.fetch("config.json")
    architecture = None
    if config_file is not None:
        try:
            architecture = load_architecture(config_file, descriptions)
        except CheckpointError:
            if parameter is None:
                raise
    name = parameter or _choose_tensor(weights, architecture)
    reader = weights.open_rows(name)
    if parameter is None and architecture is not None and reader.shape != architecture.input_shape:
        raise CheckpointError(
            f"{source}: config.json describes an embedding of {architecture.input_shape[0]} × "
            f"{architecture.input_shape[1]}, but {name!r} in the file is {reader.shape[0]} × {reader.shape[1]}; "
            "config and weights come from different models."
        )
    find_tied = cache(partial(_find_tied, weights, architecture, name))
    return EmbeddingMatrix(
        source=source,
        kind=kind,
        parameter=name,
        reader=reader,
        files=_list_files(weights, config_file, folder),
        model_folder=folder,
        load_token_table=partial(_load_table, weights, folder),
        find_tied=find_tied,
        find_parameter_count=partial(_count_parameters, weights, architecture, folder, find_tied),
    )


def _choose_tensor(weights: WeightFiles, architecture: Architecture | None) -> str:
    if architecture is None:
        return weights.find_only_matrix()
    name = architecture.find_input(weights.names)
    if name is None and architecture.tied:
        # A tied model may have been saved with its head alone; transformers loads it all the same.
        name = architecture.find_output(weights.names)
    # Describing the name that was expected raises with what is there instead.
    return name or weights.describe(architecture.input_names[0]).name


def _find_tied(weights: WeightFiles, architecture: Architecture | None, name: str) -> bool | None:
    if architecture is None or not architecture.output_names or name != _choose_tensor(weights, architecture):
        return None
    head = architecture.find_output(weights.names)
    if not architecture.tied:
        return None if head is None else False
    # With both in the file transformers ties them only when they are equal.
    return head is None or head == name or weights.share_storage(name, head) or _are_equal(weights, name, head)


def _are_equal(weights: WeightFiles, first: str, second: str) -> bool:
    import torch

    one, other = weights.open_rows(first), weights.open_rows(second)
    if one.shape != other.shape:
        return False
    return all(
        torch.equal(
            one.read_rows(start, min(start + 512, one.shape[0])), other.read_rows(start, min(start + 512, one.shape[0]))
        )
        for start in range(0, one.shape[0], 512)
    )


def _count_parameters(
    weights: WeightFiles, architecture: Architecture | None, folder: Path | None, find_tied: Callable[[], bool | None]
) -> int | None:
    if architecture is not None:
        # Where both matrices are stored and differ, transformers leaves untied what the config calls tied.
        untied_after_all = architecture.tied and find_tied() is False
        return architecture.parameter_count + (prod(architecture.input_shape) if untied_after_all else 0)
    # Without an architecture the headers tell, but only what needs no download and no reading of pickles is asked.
    is_cheap = isinstance(weights.files, LocalFiles) and not any(
        shard.endswith(TORCH_SUFFIXES) for shard in weights.shards.values()
    )
    if folder is None or not is_cheap:
        return None
    try:
        return weights.count_elements()
    except CheckpointError:
        return None  # a shard is missing, so the whole model is not here


def _list_files(weights: WeightFiles, config_file: Path | None, folder: Path | None) -> tuple[Path, ...]:
    tokenizer_files = [] if folder is None else list_tokenizer_files(folder)
    return (*weights.used, *([] if config_file is None else [config_file]), *tokenizer_files)


def _load_table(weights: WeightFiles, folder: Path | None) -> TokenTable:
    if folder is not None:
        # On the hub files arrive when they are asked for; locally this only looks.
        present = [weights.files.fetch(name) for name in TOKENIZER_FILES[:3]]
        if present[0] is None:
            for name in TOKENIZER_FILES[3:]:
                weights.files.fetch(name)
    return load_token_table(folder)
