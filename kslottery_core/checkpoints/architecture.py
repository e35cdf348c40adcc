"""Which tensor is the input embedding: asked of the architecture itself, built without memory on the meta device."""

import contextlib
import hashlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kslottery_core.checkpoints.library_output import keep_transformers_quiet
from kslottery_core.errors import CheckpointError
from kslottery_core.records import load_json, read_record, save_json


@dataclass(frozen=True)
class Architecture:
    """What the model calls its two embeddings, and what saved files call them; `tied` is what its config asks for.

    `input_shape` is (V, d). `parameter_count` counts every parameter of the built model, a shared one once.
    """

    input_names: tuple[str, ...]
    input_shape: tuple[int, int]
    output_names: tuple[str, ...]
    prefix: str
    tied: bool
    parameter_count: int

    def find_input(self, names: Sequence[str]) -> str | None:
        """The input embedding among a checkpoint's tensor names, None when it is not there."""
        return match_tensor_name(self.input_names, self.prefix, names)

    def find_output(self, names: Sequence[str]) -> str | None:
        """The output head among a checkpoint's tensor names, None when it is not there."""
        return match_tensor_name(self.output_names, self.prefix, names)


def read_architecture(config_file: Path) -> Architecture:
    """Build the model of a config.json on the meta device and ask for its embeddings.

    No code from the model's own repository is ever run. Raises CheckpointError for a config that transformers does not
    know or cannot build.
    """
    import torch

    with keep_transformers_quiet():
        from transformers import AutoConfig

        try:
            config = AutoConfig.from_pretrained(str(config_file.parent), local_files_only=True, trust_remote_code=False)
        # A config comes from anywhere: transformers answers a bad one with whatever its classes happen to raise.
        except Exception as problem:
            raise CheckpointError(
                f"{config_file}: transformers cannot read this configuration ({_first_line(problem)}); models "
                "that need their own code are not run here, so name the embedding tensor with --parameter."
            ) from None
        model, problem_text = None, ""
        with torch.device("meta"):
            for build in _list_builders():
                try:
                    model = build(config)
                    break
                except Exception as problem:
                    problem_text = problem_text or _first_line(problem)
    if model is None:
        raise CheckpointError(
            f"{config_file}: the architecture {config.model_type!r} cannot be built ({problem_text}); "
            "name the embedding tensor with --parameter."
        )
    return _describe_model(model, config, config_file)


def _list_builders() -> list[Any]:
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    return [kind.from_config for kind in (AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModel)]


def _describe_model(model: Any, config: Any, config_file: Path) -> Architecture:
    try:
        embedding = model.get_input_embeddings()
    except NotImplementedError:
        embedding = None
    weight = getattr(embedding, "weight", None)
    if weight is None or weight.ndim != 2:
        raise CheckpointError(
            f"{config_file}: the architecture {config.model_type!r} names no input-embedding matrix; "
            "name the tensor with --parameter."
        )
    output = model.get_output_embeddings()
    return Architecture(
        input_names=_list_names(model, embedding),
        input_shape=(weight.shape[0], weight.shape[1]),
        output_names=() if output is None else _list_names(model, output),
        prefix=model.base_model_prefix,
        tied=bool(config.get_text_config().tie_word_embeddings),
        parameter_count=sum(parameter.numel() for parameter in model.parameters()),
    )


def _list_names(model: Any, wanted: Any) -> tuple[str, ...]:
    """The parameter's name in the model, then its name in saved files where that differs (as GPT-NeoX's head does)."""
    name = next(name for name, module in model.named_modules(remove_duplicate=False) if module is wanted) + ".weight"
    try:
        from transformers.core_model_loading import revert_weight_conversion

        saved = tuple(revert_weight_conversion(model, {name: wanted.weight}))
    except Exception:  # no public interface; without it only the model's own name is known
        saved = ()
    return tuple(dict.fromkeys((name, *saved)))


def match_tensor_name(wanted: Sequence[str], prefix: str, names: Sequence[str]) -> str | None:
    """The first of the names `wanted` that a checkpoint has: as it is, or without or with the base-model prefix.

    Checkpoints of an older layout are matched by the last two parts of the name when exactly one tensor has them.
    """
    for name in wanted:
        bare = name.removeprefix(f"{prefix}.") if prefix else name
        for candidate in (name, bare, f"{prefix}.{name}"):
            if candidate in names:
                return candidate
    for name in wanted:
        ending = "." + ".".join(name.split(".")[-2:])
        alike = [candidate for candidate in names if f".{candidate}".endswith(ending)]
        if len(alike) == 1:
            return alike[0]
    return None


def _first_line(problem: Exception) -> str:
    lines = str(problem).strip().splitlines()
    return (lines[0] if lines else type(problem).__name__)[:200].rstrip(".")


_VERSION = "1"  # part of every file's name: raise it when `Architecture` changes its meaning


@dataclass(frozen=True)
class _KeptArchitecture:
    transformers: str
    architecture: Architecture


def load_architecture(config_file: Path, folders: Sequence[Path] = ()) -> Architecture:
    """`read_architecture`, or what it said earlier of a config.json of the same content.

    The first of `folders` is the person's own: what is asked anew is kept there, where it can be written, and read for
    the same version of transformers alone. The others come with models and describe just those. Raises CheckpointError
    as `read_architecture` does; refusals are not kept.
    """
    if not folders:
        return read_architecture(config_file)
    name, version = f"architecture-{_digest(config_file)}.json", importlib.metadata.version("transformers")
    for folder in folders:
        with contextlib.suppress(CheckpointError):  # not there, or torn
            content = load_json(folder / name, CheckpointError)
            kept = read_record(_KeptArchitecture, content, str(folder / name), CheckpointError)
            if kept.transformers == version or folder != folders[0]:
                return kept.architecture
    architecture = read_architecture(config_file)
    with contextlib.suppress(OSError):  # a full disk or a closed folder only means to ask again next time
        save_json(folders[0] / name, asdict(_KeptArchitecture(version, architecture)))
    return architecture


def _digest(config_file: Path) -> str:
    try:
        content = config_file.read_bytes()
    except OSError as problem:
        raise CheckpointError(f"{config_file}: the file cannot be read ({problem}); check its permissions.") from None
    return hashlib.sha256(f"{_VERSION}\n".encode() + content).hexdigest()[:32]
