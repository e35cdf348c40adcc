"""One file a method: what is trained, and nothing about where or when it runs."""

from kslottery_core.tuning.dataset import COUNTED, TokenCounting
from kslottery_core.tuning.prompt_preview import PromptPreview, preview_prompt
from kslottery_core.tuning.report import TuningReport
from kslottery_core.tuning.saving import save_ticket_rows, write_full_checkpoint
from kslottery_core.tuning.settings import (
    ADAPTER_METHODS,
    METHODS,
    PRECISIONS,
    QUANTIZATIONS,
    SCHEDULES,
    TICKET_ROWS,
    TRAINED_METHODS,
    LoraSettings,
    PrefixSettings,
    TuningSettings,
)
from kslottery_core.tuning.task import TuningTask
from kslottery_core.tuning.ticket_adapter import TicketRows, load_ticket_adapter, save_ticket_adapter
from kslottery_core.tuning.tune import TunedModel, tune

__all__ = [
    "ADAPTER_METHODS",
    "COUNTED",
    "METHODS",
    "PRECISIONS",
    "QUANTIZATIONS",
    "SCHEDULES",
    "TICKET_ROWS",
    "TRAINED_METHODS",
    "LoraSettings",
    "PrefixSettings",
    "PromptPreview",
    "TicketRows",
    "TokenCounting",
    "TunedModel",
    "TuningReport",
    "TuningSettings",
    "TuningTask",
    "load_ticket_adapter",
    "preview_prompt",
    "save_ticket_adapter",
    "save_ticket_rows",
    "tune",
    "write_full_checkpoint",
]
