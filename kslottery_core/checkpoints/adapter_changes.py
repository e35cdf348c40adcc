"""What a PEFT adapter changes: its tensors sorted by the matrix of the base that they belong to.

What is not a plain sum, scaling * B @ A, is refused by name: DoRA and other variants, and initialisations that change
the base's own weights.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kslottery_core.checkpoints.parameters import ModelParameters
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
