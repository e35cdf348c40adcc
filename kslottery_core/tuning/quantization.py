"""A frozen model whose linear layers are held in 8 or 4 bits (bitsandbytes) while something beside them is trained.

Only linear layers are quantised, and not the output head: the input embedding, whose rows a ticket trains, keeps the
run's number format (QLoRA, arXiv 2305.14314, for the 4 bits: normal-float values with quantised scales).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig

QUANTIZATION_NOTE = (
    "The frozen linear layers were held in {bits} bits while it was trained and scored; what is saved goes on the "
    "model as it is stored."
)


def build_quantization(quantization: str, precision: str) -> "BitsAndBytesConfig":
    """transformers' config of "8bit" or "4bit"; products are computed in `precision` ("float32" or "bfloat16")."""
    import torch
    from transformers import BitsAndBytesConfig

    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, precision),
    )


def describe_quantization(quantization: str) -> str:
    """One sentence for the report."""
    return QUANTIZATION_NOTE.format(bits=quantization.removesuffix("bit"))


def is_quantized(model: Any) -> bool:
    """Whether a model, or the one inside PEFT's, was loaded quantised."""
    return bool(getattr(model, "is_quantized", False))


@contextmanager
def let_trainer_take(model: Any) -> Iterator[None]:
    """Trainer refuses a quantised model unless PEFT trains something beside it; a ticket's rows are that too."""
    if not is_quantized(model) or getattr(model, "_hf_peft_config_loaded", False):
        yield
        return
    model._hf_peft_config_loaded = True
    try:
        yield
    finally:
        model._hf_peft_config_loaded = False
