"""The tokenizer of whatever a person names, without its model."""

from pathlib import Path
from typing import Any

from kslottery_core.checkpoints.adapter import find_adapter_base
from kslottery_core.checkpoints.library_output import keep_error_stream_quiet, keep_transformers_quiet
from kslottery_core.checkpoints.opening import DEEPEST_BASE
from kslottery_core.checkpoints.sources import ADAPTER_CONFIG, HubFiles, explain_base, find_source
from kslottery_core.checkpoints.ticket_folder import find_ticket_base
from kslottery_core.checkpoints.token_strings import TOKENIZER_FILES, list_tokenizer_files
from kslottery_core.errors import CheckpointError


def load_tokenizer(source: str | Path, *, revision: str | None = None) -> Any:
    """Load only the tokenizer of a folder, weights file in one, GGUF, adapter, tuned ticket or hub id.

    An adapter or ticket without its own has its base's. No code from a checkpoint is run. Raises CheckpointError.
    """
    with keep_transformers_quiet():
        return _load(source, revision, depth=0)


def _load(source: str | Path, revision: str | None, depth: int) -> Any:
    if depth > DEEPEST_BASE:
        raise CheckpointError("Its base model leads back to itself; correct the base that it names.")
    found = find_source(source, revision)
    path, kind = found.path, found.kind
    if path is None:
        path, kind = _fetch(found.text, found.revision)
    if kind == "gguf":
        # The bar of its conversion has no switch; it is drawn on the standard error stream.
        with keep_error_stream_quiet():
            return load_folder_tokenizer(found.text, path.parent, gguf_file=path.name)
    folder = path if path.is_dir() else path.parent
    if kind in ("adapter", "ticket") and not list_tokenizer_files(folder):
        base = find_adapter_base(folder) if kind == "adapter" else find_ticket_base(folder)
        try:
            return _load(*base, depth + 1)
        except CheckpointError as problem:
            raise explain_base(folder, base[0], problem) from None
    return load_folder_tokenizer(found.text, folder)


def _fetch(repository: str, revision: str | None) -> tuple[Path, str]:
    files = HubFiles(repository, revision)
    present = [files.fetch(name) for name in (*TOKENIZER_FILES, "config.json", ADAPTER_CONFIG)]
    if files.folder is None:
        raise files.explain()
    return files.folder, "adapter" if present[-1] is not None else "folder"


def load_folder_tokenizer(source: str, folder: Path, **options: Any) -> Any:
    """The tokenizer in `folder`; `options` go to transformers. Raises CheckpointError, naming `source`."""
    from transformers import AutoTokenizer

    if not options and not list_tokenizer_files(folder):
        raise CheckpointError(
            f"{source}: expected a tokenizer beside the model (tokenizer.json or another), found none; "
            "copy the tokenizer files of the base model into the folder."
        )
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False, **options)
    except Exception as problem:
        lines = str(problem).strip().splitlines()
        reason = (lines[0] if lines else type(problem).__name__)[:300].rstrip(".")
        raise CheckpointError(f"{source}: its tokenizer cannot be loaded ({reason}).") from None
