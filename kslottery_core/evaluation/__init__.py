"""Generate, extract, score, compare; one file each. No number leaves this room without its signature."""

from kslottery_core.evaluation.compare import OutputRow, align_outputs, describe_difference
from kslottery_core.evaluation.evaluate import Evaluation, Output, describe_decoding, evaluate
from kslottery_core.evaluation.extract import EXTRACTIONS
from kslottery_core.evaluation.score import METRICS, Score, compute_scores
from kslottery_core.evaluation.settings import EvaluationSettings

__all__ = [
    "EXTRACTIONS",
    "METRICS",
    "Evaluation",
    "EvaluationSettings",
    "Output",
    "OutputRow",
    "Score",
    "align_outputs",
    "compute_scores",
    "describe_decoding",
    "describe_difference",
    "evaluate",
]
