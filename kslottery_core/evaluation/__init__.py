"""Generate, extract, score, compare; one file each. No number leaves this room without its signature."""

from kslottery_core.evaluation.compare import OutputRow, align_outputs, describe_difference
from kslottery_core.evaluation.evaluate import Evaluation, Output, describe_decoding, evaluate, fill_prompts
from kslottery_core.evaluation.generate import EvaluationSettings, check_prompts_fit
from kslottery_core.evaluation.score import EXTRACTIONS, METRICS, Score, compute_scores

__all__ = [
    "EXTRACTIONS",
    "METRICS",
    "Evaluation",
    "EvaluationSettings",
    "Output",
    "OutputRow",
    "Score",
    "align_outputs",
    "check_prompts_fit",
    "compute_scores",
    "describe_decoding",
    "describe_difference",
    "evaluate",
    "fill_prompts",
]
