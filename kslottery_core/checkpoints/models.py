"""Load a whole causal language model and its tokenizer from any kind of source."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kslottery_core.checkpoints.adapter import find_adapter_base, find_adapter_vocabulary
from kslottery_core.checkpoints.library_output import keep_error_stream_quiet, keep_transformers_quiet
from kslottery_core.checkpoints.opening import DEEPEST_BASE
from kslottery_core.checkpoints.sources import ADAPTER_CONFIG, HubFiles, Source, explain_base, find_source
from kslottery_core.checkpoints.ticket_folder import changes_head, find_ticket_base, load_ticket_rows
from kslottery_core.checkpoints.token_strings import list_tokenizer_files
from kslottery_core.checkpoints.tokenizer import load_folder_tokenizer
from kslottery_core.checkpoints.weight_files import LocalFiles, list_weight_files
from kslottery_core.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float32", "float16", "bfloat16", "auto")


def load_model(
    source: str | Path, *, revision: str | None = None, dtype: str = "float32", device: str = "cpu"
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load model and tokenizer of a folder, GGUF, adapter (merged), tuned ticket (rows set) or hub id.

    A tied head is untied for a ticket of input rows alone. A prefix cannot be merged: such an adapter comes as PEFT's
    model around its base, which generates like any other (`is_unmerged` tells).

    `dtype` is "float32", "float16", "bfloat16" or "auto" (as stored). The model is in evaluation mode on `device`; a
    tokenizer without a padding token pads with its end token. No code from a checkpoint is run. Raises CheckpointError.
    """
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype: expected one of {', '.join(DTYPES)}, found {dtype!r}.")
    with keep_transformers_quiet():
        model, tokenizer = _load(source, revision, dtype, depth=0)
        _set_padding(tokenizer, str(source))
        try:
            model = model.to(device)
        except RuntimeError as problem:
            raise CheckpointError(
                f"{source}: the model cannot be put on {device!r} ({_first_line(problem)})."
            ) from None
    return model.eval(), tokenizer


def load_quantized_model(
    source: str | Path, quantization: Any, *, revision: str | None = None, dtype: str = "float32", device: str = "cpu"
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """As `load_model`, with linear layers as transformers' `quantization` config says, read straight to `device`.

    For a whole model in a folder or on the hub; what is not quantised has the number format `dtype`. Raises
    CheckpointError.
    """
    from transformers import AutoModelForCausalLM

    found = find_source(source, revision)
    if found.kind not in ("folder", "hub"):
        raise CheckpointError(
            f"{source}: expected a whole model in a folder or on the hub, which can be quantised as it is read, found "
            f"a source of the kind {found.kind!r}; export it as a whole model first, or leave the quantization out."
        )
    path = _fetch_hub(found) if found.path is None else found.path
    folder = find_model_folder(found.text, path)
    with keep_transformers_quiet():
        tokenizer = load_folder_tokenizer(found.text, folder)
        _set_padding(tokenizer, found.text)
        try:
            model = AutoModelForCausalLM.from_pretrained(
                str(folder),
                dtype=dtype,
                quantization_config=quantization,
                device_map={"": device},
                local_files_only=True,
                trust_remote_code=False,
            )
        except Exception as problem:  # as in `_load_folder`, and whatever bitsandbytes lacks on this device
            raise CheckpointError(
                f"{source}: transformers cannot load this model quantised ({_first_line(problem)})."
            ) from None
    return model.eval(), tokenizer


def is_unmerged(model: Any) -> bool:
    """Whether what `load_model` gave is a PEFT model around its base: a prefix, which is no change of weights."""
    return hasattr(model, "active_peft_config")


def untie_head(model: "PreTrainedModel") -> bool:
    """Give the output head its own copy of a shared matrix, so that input rows can change alone.

    Returns whether the two were tied. The config is changed too, so that saving and loading keeps both matrices.
    """
    import torch

    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or head.weight is not embedding.weight:
        return False
    head.weight = torch.nn.Parameter(embedding.weight.detach().clone(), requires_grad=embedding.weight.requires_grad)
    for config in {id(config): config for config in (model.config, model.config.get_text_config())}.values():
        config.tie_word_embeddings = False
    # transformers keeps its own list of what is tied and would tie again, or drop a matrix, when it saves.
    for module in model.modules():
        if hasattr(module, "all_tied_weights_keys"):
            cast(Any, module).all_tied_weights_keys = {}
    return True


def _load(source: str | Path, revision: str | None, dtype: str, depth: int) -> tuple[Any, Any]:
    if depth > DEEPEST_BASE:
        raise CheckpointError("Its base model leads back to itself; correct the base that it names.")
    found = find_source(source, revision)
    path = found.path
    if path is None:
        path = _fetch_hub(found)
        found = Source(found.text, "adapter" if (path / ADAPTER_CONFIG).is_file() else "folder", path)
    if found.kind == "ticket":
        return _load_ticket(found, path, dtype, depth)
    if found.kind == "adapter":
        return _load_adapter(found, path, dtype, depth)
    if found.kind == "gguf":
        return _load_gguf(found, path, dtype)
    return _load_folder(found.text, find_model_folder(found.text, path), dtype)


def find_model_folder(source: str, path: Path) -> Path:
    """The folder of the whole model at `path`, a folder or a weights file. Raises CheckpointError when there is none.

    `source` is what a person called it.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{source}: expected a whole model (a folder with config.json, weights and tokenizer), found weights "
            "alone; they can be compared, but not run."
        )
    if path.is_file():
        _check_own_weights(source, path)
    return folder


def _check_own_weights(source: str, path: Path) -> None:
    """Refuse a file beside a model that transformers would not load: the run would use other weights than it names."""
    own = list_weight_files(LocalFiles(path.parent, source))
    if path.name not in own:
        listed = f"{', '.join(own[:3])}{', ...' if len(own) > 3 else ''}" if own else "no weights of its own"
        raise CheckpointError(
            f"{source}: expected the weights that the model in {path.parent} loads ({listed}), found {path.name}, "
            "which would be ignored; give the folder to run that model, or rename the file to model.safetensors in a "
            "folder with a copy of its config and tokenizer."
        )


def _fetch_hub(found: Source) -> Path:
    files = HubFiles(found.text, found.revision)
    if files.fetch("config.json") is None and files.fetch(ADAPTER_CONFIG) is None:
        if files.unreachable:
            raise files.explain()
        raise CheckpointError(
            f"{files.label}: expected a model or an adapter there, found neither config.json nor {ADAPTER_CONFIG}; "
            "download the file you mean (for example a .gguf) and give its path."
        )
    return files.fetch_all()


def _load_folder(source: str, folder: Path, dtype: str, **options: Any) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM

    tokenizer = load_folder_tokenizer(source, folder, **options)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=dtype, local_files_only=True, trust_remote_code=False, **options
        )
    # Weights and configs come from anywhere; whatever transformers raises is told in one sentence.
    except Exception as problem:
        raise CheckpointError(
            f"{source}: transformers cannot load this causal language model ({_first_line(problem)})."
        ) from None
    return model, tokenizer


def _load_gguf(found: Source, path: Path, dtype: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM

    # The bar of its conversion has no switch; it is drawn on the standard error stream.
    with keep_error_stream_quiet():
        loaded, tokenizer = _load_folder(found.text, path.parent, dtype, gguf_file=path.name)
    # A model loaded from GGUF refuses to be saved; the same weights in a fresh model of that config do not.
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=loaded.dtype, trust_remote_code=False)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    return model, tokenizer


def _load_base(folder: Path, base: tuple[str, str | None], dtype: str, depth: int) -> tuple[Any, Any]:
    try:
        model, tokenizer = _load(base[0], base[1], dtype, depth + 1)
    except CheckpointError as problem:
        raise explain_base(folder, base[0], problem) from None
    if is_unmerged(model):
        raise CheckpointError(
            f"{folder}: expected a base whose weights can be changed, found {base[0]!r}, which is a prefix before a "
            "model; name that model as the base."
        )
    return model, tokenizer


def _load_adapter(found: Source, folder: Path, dtype: str, depth: int) -> tuple[Any, Any]:
    from peft import PeftModel

    model, tokenizer = _load_base(folder, find_adapter_base(folder), dtype, depth)
    try:
        embedding = model.get_input_embeddings()
        module = next(name for name, module in model.named_modules() if module is embedding)
        rows = find_adapter_vocabulary(folder, module)
        if rows is not None and rows != embedding.weight.shape[0]:  # an adapter that came with added tokens
            model.resize_token_embeddings(rows, mean_resizing=False)
        model = PeftModel.from_pretrained(model, str(folder))
        if not model.active_peft_config.is_prompt_learning:
            model = model.merge_and_unload()
    except Exception as problem:
        raise CheckpointError(
            f"{found.text}: PEFT cannot load this adapter on its base ({_first_line(problem)})."
        ) from None
    return model, load_folder_tokenizer(found.text, folder) if list_tokenizer_files(folder) else tokenizer


def _load_ticket(found: Source, folder: Path, dtype: str, depth: int) -> tuple[Any, Any]:
    import torch

    model, tokenizer = _load_base(folder, find_ticket_base(folder), dtype, depth)
    token_ids, rows = load_ticket_rows(folder)
    if not changes_head(folder):
        untie_head(model)
    weight = model.get_input_embeddings().weight
    if rows.shape != (len(token_ids), weight.shape[1]) or bool(
        (token_ids < 0).any() | (token_ids >= len(weight)).any()
    ):
        raise CheckpointError(
            f"{found.text}: the ticket's rows {tuple(rows.shape)} do not fit its base's embedding "
            f"{tuple(weight.shape)}; it belongs to another base model."
        )
    with torch.no_grad():
        weight[token_ids] = rows.to(weight.dtype)
    return model, load_folder_tokenizer(found.text, folder) if list_tokenizer_files(folder) else tokenizer


def _set_padding(tokenizer: Any, source: str) -> None:
    if tokenizer.pad_token_id is not None:
        return
    if tokenizer.eos_token is None:
        raise CheckpointError(
            f"{source}: expected a tokenizer with an end or padding token, found neither; "
            "set eos_token in its tokenizer_config.json."
        )
    tokenizer.pad_token = tokenizer.eos_token


def _first_line(problem: Exception) -> str:
    lines = str(problem).strip().splitlines()
    return (lines[0] if lines else type(problem).__name__)[:300].rstrip(".")


def build_blueprint(source: str | Path, *, revision: str | None = None) -> "PreTrainedModel | None":
    """The causal language model that `load_model` would load, on the meta device: every layer, no weight, no memory.

    An adapter or a tuned ticket gives its base's. None for a model on the hub and for a config that cannot be read or
    built in this way: loading it says more. Raises CheckpointError for weights alone, and for a model that is no causal
    language model.
    """
    with keep_transformers_quiet():
        return _build(source, revision, depth=0)


def _build(source: str | Path, revision: str | None, depth: int) -> "PreTrainedModel | None":
    if depth > DEEPEST_BASE:
        raise CheckpointError("Its base model leads back to itself; correct the base that it names.")
    found = find_source(source, revision)
    path = found.path
    if path is None:
        return None
    if found.kind in ("adapter", "ticket"):
        base = find_adapter_base(path) if found.kind == "adapter" else find_ticket_base(path)
        try:
            return _build(*base, depth + 1)
        except CheckpointError as problem:
            raise explain_base(path, base[0], problem) from None
    if found.kind == "gguf":
        # The bar of its conversion has no switch; it is drawn on the standard error stream.
        with keep_error_stream_quiet():
            return _build_from_config(found.text, path.parent, gguf_file=path.name)
    return _build_from_config(found.text, find_model_folder(found.text, path))


def _build_from_config(source: str, folder: Path, **options: Any) -> "PreTrainedModel | None":
    import torch
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False, **options)
    # A config comes from anywhere: transformers answers a bad one with whatever its classes happen to raise.
    except Exception:
        return None
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise CheckpointError(
            f"{source}: expected a causal language model, which continues a text, found a model of type "
            f"{config.model_type!r}; choose another model."
        )
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    except Exception:  # some architectures compute while they are built, which needs memory
        return None


GENERATION_CONFIG = "generation_config.json"


def find_generation_config(source: str | Path, revision: str | None = None) -> Path | None:
    """The generation_config.json that `load_model` takes settings from; None where there is none.

    Of an adapter or a tuned ticket it is its base's. From the hub this file alone is fetched. Raises CheckpointError.
    """
    return _find(source, revision, depth=0)


def _find(source: str | Path, revision: str | None, *, depth: int) -> Path | None:
    if depth > DEEPEST_BASE:
        raise CheckpointError("Its base model leads back to itself; correct the base that it names.")
    found = find_source(source, revision)
    if found.path is None:
        files = HubFiles(found.text, found.revision)
        if files.fetch("config.json") is None and files.fetch(ADAPTER_CONFIG) is not None:
            assert files.folder is not None, "a file was fetched"
            return _find(*find_adapter_base(files.folder), depth=depth + 1)
        return files.fetch(GENERATION_CONFIG)
    if found.kind == "ticket":
        return _find(*find_ticket_base(found.path), depth=depth + 1)
    if found.kind == "adapter":
        return _find(*find_adapter_base(found.path), depth=depth + 1)
    folder = found.path if found.path.is_dir() else found.path.parent
    path = folder / GENERATION_CONFIG
    return path if path.is_file() else None
