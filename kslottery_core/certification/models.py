"""The two checkpoints as one network and two embedding matrices, after checking that nothing else differs.

The embedding-tuned model (AFTER) is loaded whole. Of BEFORE only the embedding rows are kept: everything else must be
the same, to the last bit as loaded in float32, or "exact" would be untrue. Models are compared as loaded, not as stored
in files, because norms and biases count too, and because GGUF files, adapters and tied matrices only then have their
final names and numbers; they are loaded one after the other, so that only one is in memory at a time.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kslottery_core.certification.certificate import SideFingerprints
from kslottery_core.errors import CertificationError
from kslottery_core.progress import OnProgress, ProgressEvent

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from kslottery_core.certification.task import CertificationTask
    from kslottery_core.checkpoints import EmbeddingPair

OnFingerprints = Callable[[SideFingerprints, SideFingerprints], None]

_IRRELEVANT_SETTINGS = frozenset(
    {
        *("_name_or_path", "architectures", "transformers_version", "use_cache", "quantization_config"),
        *("dtype", "torch_dtype", "tie_word_embeddings", "initializer_range", "initializer_factor"),
        *(
            "id2label",
            "label2id",
            "bos_token_id",
            "eos_token_id",
            "pad_token_id",
            "return_dict",
            "output_hidden_states",
            "output_attentions",
        ),
    }
)
"""Settings that do not change what a loaded model computes in evaluation; nor does any dropout."""


@dataclass(frozen=True, eq=False)
class CertifiedModels:
    """AFTER's whole network on its device, and BEFORE's input embedding (V, d) float32 on the CPU."""

    model: "PreTrainedModel"
    tokenizer: Any
    before_tokenizer: Any
    before_rows: "torch.Tensor"
    before: SideFingerprints
    after: SideFingerprints


@dataclass(frozen=True, eq=False)
class _LoadedSide:
    model: Any
    tokenizer: Any
    digests: dict[str, str]
    shared_head: str | None
    settings: dict[str, Any]
    kind: str


def open_certified_pair(task: "CertificationTask") -> "EmbeddingPair":
    """The pair, from headers and tokenizers. Raises CheckpointError, or CertificationError for another vocabulary."""
    from kslottery_core.checkpoints import open_pair

    pair = open_pair(task.before, task.after, before_revision=task.before_revision, after_revision=task.after_revision)
    rows_before, rows_after = pair.before.shape[0], pair.after.shape[0]
    if rows_before != rows_after:
        raise CertificationError(
            f"Expected two checkpoints of one vocabulary, found {rows_before:,} embedding rows in {task.before} and "
            f"{rows_after:,} in {task.after}; certify against the model that {task.after} was tuned from."
        )
    return pair


def load_models(
    task: "CertificationTask",
    pair: "EmbeddingPair",
    device: str,
    on_progress: OnProgress,
    on_fingerprints: OnFingerprints | None = None,
) -> CertifiedModels:
    """Load both checkpoints and check that they differ in the input embedding alone.

    `on_fingerprints` gets the digests of both before they are compared; an exception from it ends the loading.
    Raises CheckpointError for a checkpoint that is not a whole model, CertificationError for two that differ elsewhere.
    """
    from kslottery_core.checkpoints import untie_head

    on_progress(ProgressEvent("load", 0, 2, message=f"loading {task.before}"))
    before = _load(task, "before")
    before_rows = before.model.get_input_embeddings().weight.detach().clone()  # (V, d)
    before = _LoadedSide(
        None, before.tokenizer, before.digests, before.shared_head, before.settings, before.kind
    )  # frees the model before the next one is loaded
    on_progress(ProgressEvent("load", 1, 2, message=f"loading {task.after}"))
    after = _load(task, "after")
    fingerprints = (
        SideFingerprints(pair.before.fingerprint, _join_digests(before.digests)),
        SideFingerprints(pair.after.fingerprint, _join_digests(after.digests)),
    )
    if on_fingerprints is not None:
        on_fingerprints(*fingerprints)
    _check_same_but_embedding(task, before, after)
    if not before_rows.isfinite().all() or not after.model.get_input_embeddings().weight.isfinite().all():
        raise CertificationError(
            "Expected finite embedding rows on both sides when loaded in float32, found others; "
            "save the checkpoints again."
        )
    untie_head(after.model)  # rows are exchanged in place, and a head that shares the matrix must not follow
    model = after.model.to(device)
    on_progress(ProgressEvent("load", 2, 2))
    return CertifiedModels(model, after.tokenizer, before.tokenizer, before_rows, *fingerprints)


def _load(task: "CertificationTask", side: str) -> _LoadedSide:
    from kslottery_core.checkpoints import is_unmerged, load_model

    source, revision = (task.before, task.before_revision) if side == "before" else (task.after, task.after_revision)
    model, tokenizer = load_model(source, revision=revision)
    if is_unmerged(model):
        raise CertificationError(
            f"{side}: {source} is a prefix for a model, which changes no embedding rows; name a model whose "
            "input embedding was tuned."
        )
    model.requires_grad_(False)
    embedding = model.get_input_embeddings()
    weight = getattr(embedding, "weight", None)
    if weight is None or weight.ndim != 2:
        raise CertificationError(
            f"{side}: expected a model with one input-embedding matrix, found none in {source}; choose another model."
        )
    modules = {id(module): name for name, module in model.named_modules()}
    embedding_name = f"{modules[id(embedding)]}.weight"
    head = model.get_output_embeddings()
    head_name = f"{modules[id(head)]}.weight" if head is not None else None
    is_shared = head is not None and head.weight is weight
    digests = {name: _digest(tensor) for name, tensor in model.state_dict().items() if name != embedding_name}
    return _LoadedSide(
        model,
        tokenizer,
        digests,
        head_name if is_shared else None,
        _flatten_settings(model.config.to_dict()),
        type(model).__name__,
    )


def _digest(tensor: "torch.Tensor") -> str:
    import torch

    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
    digest.update(memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))  # type: ignore[arg-type]
    return digest.hexdigest()


def _join_digests(digests: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()


def _flatten_settings(settings: Any, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if name in _IRRELEVANT_SETTINGS or "dropout" in str(name):
            continue
        if isinstance(value, dict):
            flat |= _flatten_settings(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _check_same_but_embedding(task: "CertificationTask", before: _LoadedSide, after: _LoadedSide) -> None:
    both = f"{task.before} and {task.after}"
    hint = "certify against the model that it was embedding-tuned from"
    if before.kind != after.kind:
        raise CertificationError(
            f"Expected two checkpoints of one architecture, found {before.kind} in {task.before} and {after.kind} in "
            f"{task.after}; {hint}."
        )
    for name in sorted({*before.settings, *after.settings}):
        one, other = (side.settings.get(name) for side in (before, after))
        if one != other:
            raise CertificationError(
                f"Expected two checkpoints of one configuration, found {name} = {one!r} in {task.before} and "
                f"{other!r} in {task.after}; {hint}."
            )
    differing = [
        name for name in {**before.digests, **after.digests} if before.digests.get(name) != after.digests.get(name)
    ]
    if not differing:
        return
    if differing == [after.shared_head]:
        raise CertificationError(
            f"Expected checkpoints that differ in the input embedding alone, found that {task.after} uses the changed "
            f"rows in its output head ({differing[0]}) too, as one tied matrix; certify a model with only its "
            "input rows tuned."
        )
    shown = ", ".join(differing[:3]) + (", ..." if len(differing) > 3 else "")
    raise CertificationError(
        f"Expected checkpoints that differ in the input embedding alone, found {len(differing):,} of "
        f"{len(after.digests):,} other parameters that differ between {both} ({shown}); even the exact level would be "
        f"untrue, so {hint}."
    )
