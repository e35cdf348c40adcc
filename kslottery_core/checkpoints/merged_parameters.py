"""A PEFT adapter merged into its base one matrix at a time, as PEFT's own `merge_and_unload` would store it.

Nothing is merged until a row is read: the readers add scaling * B @ A to the base's rows, block by block.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kslottery_core.checkpoints.adapter import (
    ADAPTER_WEIGHTS,
    compute_lora_scaling,
    find_adapter_base,
    open_adapter_weights,
    read_adapter_config,
    read_token_indices,
    read_whole,
)
from kslottery_core.checkpoints.matrix import RowReader
from kslottery_core.checkpoints.parameters import ModelParameters
from kslottery_core.checkpoints.row_readers import (
    LoraLinearRows,
    LoraRows,
    LoraTurnedRows,
    TensorEntry,
    check_matrix,
    replace_rows,
)
from kslottery_core.checkpoints.sources import ADAPTER_CONFIG, OpenBase, explain_base
from kslottery_core.checkpoints.weight_files import WeightFiles
from kslottery_core.errors import CheckpointError

READABLE_KINDS = ("LORA", "TRAINABLE_TOKENS")
OTHER_ARITHMETIC = {
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "alora_invocation_tokens": "activated LoRA",
    "layer_replication": "layer replication",
    "target_parameters": "LoRA on bare parameters",
    "use_bdlora": "block-diagonal LoRA",
    "arrow_config": "Arrow routing",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
}
"""Settings whose merge is no plain sum, by the name to tell."""

PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Values of init_lora_weights that leave the base's weights alone."""

PEFT_PREFIX = "base_model.model."


@dataclass(eq=False)
class AdapterChange:
    """The adapter's tensors for one matrix: a whole one in its place, rows of it, or the parts of a LoRA."""

    whole: str | None = None
    rows: str | None = None
    parts: dict[str, str] = field(default_factory=dict)

    def name_kind(self) -> str:
        """What is done to the matrix, for a note."""
        if self.parts:
            return "with a low-rank change"
        return "with replaced rows" if self.rows else "replaced whole"


def check_adapter_settings(config: dict[str, Any], source: str) -> None:
    """Raises CheckpointError for an adapter whose merge is not done here, with what to do instead."""
    kind = config.get("peft_type")
    advice = "merge the adapter with PEFT (merge_and_unload), save the model, and open that folder."
    if kind not in READABLE_KINDS:
        raise CheckpointError(
            f"{source}: expected an adapter of type {' or '.join(READABLE_KINDS)}, found {kind}; {advice}"
        )
    for setting, name in OTHER_ARITHMETIC.items():
        if config.get(setting):
            raise CheckpointError(f"{source}: the adapter uses {name} ({setting}), which is not merged here; {advice}")
    start = config.get("init_lora_weights", True)
    if start not in PLAIN_STARTS:
        raise CheckpointError(
            f"{source}: the adapter was started with init_lora_weights={start!r}, which changes the base's own "
            f"weights; {advice}"
        )


def assign_changes(weights: WeightFiles, base: ModelParameters) -> tuple[dict[str, AdapterChange], list[str]]:
    """(the changes by the base's matrix name, modules of the adapter that the base lacks).

    Raises CheckpointError for a damaged file.
    """
    changes: dict[str, AdapterChange] = {}
    strangers: dict[str, None] = {}
    find = _make_finder(base)
    for stored in weights.names:
        name = stored.removeprefix(PEFT_PREFIX).replace(".default", "").replace(".modules_to_save", "")
        for ending, place in _ENDINGS.items():
            module = name.removesuffix(ending)
            if module == name:
                continue
            if ending == ".weight" and len(weights.describe(stored).shape) != 2:
                break  # a norm that was trained along: no matrix
            parameter = find(module)
            if parameter is None:
                strangers[module] = None
            else:
                place(changes.setdefault(parameter, AdapterChange()), ending.strip("."), stored)
            break
    return changes, list(strangers)


def _set_part(change: AdapterChange, ending: str, stored: str) -> None:
    change.parts[ending.removesuffix(".weight")] = stored


def _set_rows(change: AdapterChange, ending: str, stored: str) -> None:
    change.rows = stored


def _set_whole(change: AdapterChange, ending: str, stored: str) -> None:
    change.whole = stored


_ENDINGS: dict[str, Callable[[AdapterChange, str, str], None]] = {
    ".lora_A.weight": _set_part,
    ".lora_B.weight": _set_part,
    ".lora_embedding_A": _set_part,
    ".lora_embedding_B": _set_part,
    ".token_adapter.trainable_tokens_delta": _set_rows,
    ".trainable_tokens_delta": _set_rows,
    ".base_layer.weight": _set_whole,
    ".weight": _set_whole,
}
"""How a tensor of an adapter ends, longest first, and where it belongs."""


def _make_finder(base: ModelParameters) -> Callable[[str], str | None]:
    """From a module's name to the base's matrix: equal, or without or with one leading part of the name."""
    by_bare = {name.partition(".")[2]: name for name in base.names}

    def find(module: str) -> str | None:
        name = f"{module}.weight"
        for candidate in (name, name.partition(".")[2]):
            if candidate in base.entries:
                return candidate
        return by_bare.get(name)

    return find


def open_adapter_parameters(source: str, folder: Path, open_base: OpenBase) -> ModelParameters:
    """The base's matrices with the adapter merged. Raises CheckpointError for an adapter that cannot be merged here."""
    config = read_adapter_config(folder)
    check_adapter_settings(config, source)
    base_name, revision = find_adapter_base(folder)
    try:
        base: ModelParameters = open_base(base_name, revision)
    except CheckpointError as problem:
        raise explain_base(folder, base_name, problem) from None
    weights = open_adapter_weights(source, folder)
    if weights is None:
        raise CheckpointError(
            f"{folder}: expected {' or '.join(ADAPTER_WEIGHTS)} beside {ADAPTER_CONFIG}, found neither."
        )
    changes, strangers = assign_changes(weights, base)
    if not changes:
        raise CheckpointError(
            f"{source}: expected an adapter that changes a matrix of its base {base.source}, found none that it has "
            f"(the adapter is for {', '.join(strangers[:2]) or 'no module'}); it belongs to another base model."
        )
    merger = _Merger(source, config, weights, base, changes)
    merger.check()
    return ModelParameters(
        source=source,
        kind="adapter",
        entries=merger.describe_entries(),
        left_out=base.left_out,
        open_rows=merger.open_rows,
        files=(folder / ADAPTER_CONFIG, *weights.used, *base.files),
        notes=(*base.notes, *_describe(source, base, changes, strangers)),
        stored_names=base.stored_names,
        find_problem=merger.find_problem,
    )


@dataclass(frozen=True, eq=False)
class _Merger:
    source: str
    config: dict[str, Any]
    weights: WeightFiles
    base: ModelParameters
    changes: dict[str, AdapterChange]

    def check(self) -> None:
        """Raises CheckpointError for a change whose shapes do not fit the base."""
        for name, change in self.changes.items():
            if change.whole is not None:
                check_matrix(self.weights.describe(change.whole), self.source)
            for ending in ("lora_", "lora_embedding_"):
                both = {f"{ending}A", f"{ending}B"} & set(change.parts)
                if len(both) == 1:
                    raise CheckpointError(
                        f"{self.source}: expected lora_A and lora_B for {name!r}, found {both.pop()} alone; "
                        "the adapter's file is incomplete, so save or download it again."
                    )
            if change.parts and self._find_layout(name) is None:
                rows, columns = self._get_shape(name)
                inputs, outputs = self._get_lora_shape(change)
                raise CheckpointError(
                    f"{self.source}: the adapter's LoRA on {name!r} is for a matrix of {outputs} × {inputs}, the "
                    f"base's is {rows} × {columns}; it belongs to another base model."
                )

    def describe_entries(self) -> dict[str, TensorEntry]:
        """The base's entries, a whole replaced matrix with its own shape and type."""
        entries = dict(self.base.entries)
        for name, change in self.changes.items():
            if change.whole is not None:
                found = self.weights.describe(change.whole)
                entries[name] = TensorEntry(name, found.shape, found.dtype)
        return entries

    def find_problem(self, name: str) -> str | None:
        """As in `ModelParameters`."""
        change = self.changes.get(name)
        return None if change is not None and change.whole is not None else self.base.find_problem(name)

    def open_rows(self, name: str) -> RowReader:
        """As in `ModelParameters`."""
        change = self.changes.get(name)
        if change is None:
            return self.base.open_rows(name)
        reader = self.base.open_rows(name) if change.whole is None else self.weights.open_rows(change.whole)
        if change.parts:
            reader = self._merge_lora(name, change, reader)
        if change.rows is not None:
            import torch

            module = name.removesuffix(".weight")
            token_ids = torch.tensor(read_token_indices(self.config, module, self.source), dtype=torch.int64)
            reader = replace_rows(reader, token_ids, read_whole(self.weights, change.rows), self.source)
        return reader

    def _merge_lora(self, name: str, change: AdapterChange, reader: RowReader) -> RowReader:
        lora_a, lora_b = (read_whole(self.weights, change.parts[part]) for part in sorted(change.parts))
        stored = change.parts[min(change.parts)]
        module = stored.removeprefix(PEFT_PREFIX).partition(".lora_")[0]
        scaling = compute_lora_scaling(self.config, module, lora_a.shape[0])
        layout = self._find_layout(name)
        if layout == "embedding":
            return LoraRows(reader, lora_a, lora_b, scaling)
        if layout == "turned":
            return LoraTurnedRows(reader, lora_a, lora_b, scaling)
        return LoraLinearRows(reader, lora_a, lora_b, scaling)

    def _get_shape(self, name: str) -> tuple[int, int]:
        whole = self.changes[name].whole
        rows, columns = self.base.shape(name) if whole is None else self.weights.describe(whole).shape
        return rows, columns

    def _get_lora_shape(self, change: AdapterChange) -> tuple[int, int]:
        """(inputs, outputs) that A (r, inputs) and B (outputs, r) are made for."""
        lora_a, lora_b = (self.weights.describe(change.parts[part]).shape for part in sorted(change.parts))
        return lora_a[-1], lora_b[0]

    def _find_layout(self, name: str) -> str | None:
        """How the change lies on the base: "embedding", "linear", "turned", or None when it does not fit.

        A square matrix fits both ways. PEFT turns it for a Conv1D layer; a model that has one such layer is made of
        them, so another matrix that only fits turned decides, else the adapter's fan_in_fan_out.
        """
        change = self.changes[name]
        rows, columns = self._get_shape(name)
        inputs, outputs = self._get_lora_shape(change)
        if "lora_embedding_A" in change.parts:
            return "embedding" if (inputs, outputs) == (rows, columns) else None
        fits = (outputs, inputs) == (rows, columns)
        fits_turned = (inputs, outputs) == (rows, columns)
        if fits and fits_turned:
            is_turned = bool(self.config.get("fan_in_fan_out")) or any(self._is_only_turned(n) for n in self.changes)
            return "turned" if is_turned else "linear"
        return "linear" if fits else "turned" if fits_turned else None

    def _is_only_turned(self, name: str) -> bool:
        change = self.changes[name]
        if "lora_A" not in change.parts or "lora_B" not in change.parts:
            return False
        inputs, outputs = self._get_lora_shape(change)
        return inputs != outputs and (inputs, outputs) == self._get_shape(name)


def _describe(source: str, base: ModelParameters, changes: dict[str, AdapterChange], strangers: list[str]) -> list[str]:
    kinds: dict[str, int] = {}
    for change in changes.values():
        kinds[change.name_kind()] = kinds.get(change.name_kind(), 0) + 1
    done = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    dtypes = " and ".join(sorted({base.dtype(name) for name in changes}))
    notes = [
        f"{source} is an adapter on {base.source}, merged one matrix at a time: {len(changes):,} of "
        f"{len(base.names):,} matrices change ({done}). Merged values are rounded to the base's type ({dtypes}), as "
        "PEFT stores them."
    ]
    if strangers:
        shown = ", ".join(strangers[:3]) + (", ..." if len(strangers) > 3 else "")
        notes.append(
            f"{source} also changes {len(strangers):,} modules whose matrix {base.source} does not store on its own "
            f"(a tied head, for example); they are not compared: {shown}."
        )
    return notes
