"""BLEU, chrF++ and spBLEU through sacrebleu; every number carries the signature that says what it is."""

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kslottery_core.errors import EvaluationError

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

SPBLEU_MODEL_VARIABLE = "KSLOTTERY_SPBLEU_MODEL"
SPBLEU_MODEL_NAME = "sacrebleu_tokenizer_spm.model"


@dataclass(frozen=True)
class Score:
    """One corpus score on sacrebleu's scale of 0 to 100, with everything needed to know what it measures."""

    metric: str
    extraction: str
    value: float
    signature: str
    decoding: str
    prompt_hash: str
    test_set_hash: str
    sentences: int


class SpBLEUUnavailableError(EvaluationError):
    """The SentencePiece model that spBLEU is defined by is not on this machine and cannot be fetched."""


def find_spbleu_model() -> Path:
    """Where sacrebleu looks for the FLORES-101 SentencePiece model."""
    from sacrebleu.utils import SACREBLEU_DIR

    return Path(SACREBLEU_DIR) / "models" / SPBLEU_MODEL_NAME


def _shorten_home(path: Path) -> str:
    """The path as a person writes it; a result that is passed on should not name who made it."""
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)


def create_spbleu() -> "Metric":
    """sacrebleu's BLEU with the FLORES-101 tokenizer. Raises SpBLEUUnavailableError in one sentence without its model.

    The environment variable KSLOTTERY_SPBLEU_MODEL may name a local copy of the model file; it is put where sacrebleu
    looks for it.
    """
    from sacrebleu.metrics.bleu import BLEU

    model_path = find_spbleu_model()
    local_copy = os.environ.get(SPBLEU_MODEL_VARIABLE)
    if local_copy and not model_path.exists():
        if not Path(local_copy).is_file():
            raise SpBLEUUnavailableError(
                f"spBLEU is not measured: {SPBLEU_MODEL_VARIABLE} names {local_copy}, and no file is there."
            )
        model_path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local_copy, model_path)
    was_there = model_path.exists()
    try:
        return BLEU(tokenize="flores101")
    except (OSError, RuntimeError, ImportError) as problem:
        if not was_there:
            # sacrebleu leaves an empty file and a lock behind when its download fails; both would mislead it next time.
            for leftover in (model_path, model_path.with_name(f"{model_path.name}.lock")):
                with contextlib.suppress(OSError):
                    leftover.unlink(missing_ok=True)
        reason = getattr(problem, "reason", problem)  # urllib wraps the cause of a failed download
        raise SpBLEUUnavailableError(
            f"spBLEU is not measured: its SentencePiece model could not be loaded or fetched ({reason}); put "
            f"{SPBLEU_MODEL_NAME} into {_shorten_home(model_path.parent)}, or name a copy in {SPBLEU_MODEL_VARIABLE}."
        ) from None


def _create_bleu() -> "Metric":
    from sacrebleu.metrics.bleu import BLEU

    return BLEU()


def _create_chrf() -> "Metric":
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(word_order=2)


METRICS: dict[str, Callable[[], "Metric"]] = {"BLEU": _create_bleu, "chrF++": _create_chrf, "spBLEU": create_spbleu}


def compute_scores(
    texts: dict[str, Sequence[str]],
    references: Sequence[str],
    *,
    decoding: str,
    prompt_hash: str,
    test_set_hash: str,
) -> tuple[tuple[Score, ...], tuple[str, ...]]:
    """Score each extraction's texts against one reference a sentence.

    `texts` maps the name of an extraction rule to its texts. Returns the scores and a sentence for every metric that
    could not be measured. Raises EvaluationError when texts and references differ in number or there are none.
    """
    for extraction, extracted in texts.items():
        if len(extracted) != len(references) or not references:
            raise EvaluationError(
                f"scores ({extraction}): expected as many outputs as references and at least one, found "
                f"{len(extracted)} outputs and {len(references)} references."
            )
    scores, notes = [], []
    # sacrebleu warns on its log about texts that end in a tokenized period; scores of raw text are what is wanted.
    logging.getLogger("sacrebleu").setLevel(logging.ERROR)
    for name, create in METRICS.items():
        try:
            metric = create()
        except SpBLEUUnavailableError as problem:
            notes.append(str(problem))
            continue
        for extraction, extracted in texts.items():
            value = metric.corpus_score(list(extracted), [list(references)]).score
            scores.append(
                Score(
                    metric=name,
                    extraction=extraction,
                    value=float(value),
                    signature=str(metric.get_signature()),
                    decoding=decoding,
                    prompt_hash=prompt_hash,
                    test_set_hash=test_set_hash,
                    sentences=len(references),
                )
            )
    return tuple(scores), tuple(notes)
