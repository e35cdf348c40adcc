"""One file a method: what is trained, and nothing about where or when it runs."""

from kslottery_core.tuning.saving import save_ticket_rows, write_full_checkpoint
from kslottery_core.tuning.settings import METHODS, PRECISIONS, SCHEDULES, TRAINED_METHODS, TuningSettings
from kslottery_core.tuning.task import TuningTask
from kslottery_core.tuning.tune import TunedModel, TuningReport, tune

__all__ = [
    "METHODS",
    "PRECISIONS",
    "SCHEDULES",
    "TRAINED_METHODS",
    "TunedModel",
    "TuningReport",
    "TuningSettings",
    "TuningTask",
    "save_ticket_rows",
    "tune",
    "write_full_checkpoint",
]
