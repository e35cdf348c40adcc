"""BLEU, chrF++ and spBLEU through sacrebleu; every number carries the signature that says what it is."""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kslottery_core.errors import EvaluationError

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric


def extract_whole_output(text: str) -> str:
    """Everything the model wrote, on one line: what a reader who cannot cut would get."""
    return " ".join(text.split())


def extract_first_line(text: str) -> str:
    """The first line that is not blank, or nothing."""
    return next((" ".join(line.split()) for line in text.splitlines() if line.strip()), "")


EXTRACTIONS: dict[str, Callable[[str], str]] = {
    "whole output": extract_whole_output,
    "first line": extract_first_line,
}


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
    """The FLORES-101 SentencePiece model: the file that KSLOTTERY_SPBLEU_MODEL names, else where sacrebleu keeps it."""
    from sacrebleu.utils import SACREBLEU_DIR

    local_copy = os.environ.get(SPBLEU_MODEL_VARIABLE)
    return Path(local_copy) if local_copy else Path(SACREBLEU_DIR) / "models" / SPBLEU_MODEL_NAME


def create_spbleu() -> "Metric":
    """sacrebleu's BLEU with the FLORES-101 tokenizer, which sacrebleu fetches on first use.

    Raises SpBLEUUnavailableError in one sentence when the model is not there and cannot be fetched.
    """
    from sacrebleu.metrics.bleu import BLEU

    path = find_spbleu_model()
    was_there = path.exists()
    try:
        with _point_sacrebleu_to(path):
            return BLEU(tokenize="flores101")
    # sacrebleu ends the whole process on a certificate error; here that is one more reason for no spBLEU.
    except (OSError, RuntimeError, ImportError, SystemExit) as problem:
        if not was_there:
            # A failed download leaves an empty file and a lock behind; both would mislead sacrebleu next time.
            for leftover in (path, path.with_name(f"{path.name}.lock")):
                with contextlib.suppress(OSError):
                    leftover.unlink(missing_ok=True)
        reason = getattr(problem, "reason", problem)  # urllib wraps the cause of a failed download
        if isinstance(reason, OSError) and reason.strerror:
            at = f": {_shorten_home(Path(reason.filename))}" if reason.filename else ""
            reason = f"{reason.strerror}{at}"  # without its number, which says nothing to a reader
        raise SpBLEUUnavailableError(
            f"spBLEU is not measured: its SentencePiece model could not be loaded or fetched ({reason}); put "
            f"{SPBLEU_MODEL_NAME} into {_shorten_home(path.parent)}, or name a copy in {SPBLEU_MODEL_VARIABLE}."
        ) from None


@contextlib.contextmanager
def _point_sacrebleu_to(path: Path) -> Iterator[None]:
    """Let sacrebleu load the model from `path`, without putting a copy where every user of sacrebleu would get it."""
    from sacrebleu.tokenizers import tokenizer_spm

    if not os.environ.get(SPBLEU_MODEL_VARIABLE):
        yield
        return
    if not path.is_file():
        raise SpBLEUUnavailableError(
            f"spBLEU is not measured: {SPBLEU_MODEL_VARIABLE} names {path}, and no file is there."
        )
    usual = tokenizer_spm.SACREBLEU_DIR
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "models").mkdir()
        (Path(folder) / "models" / SPBLEU_MODEL_NAME).symlink_to(path.absolute())
        tokenizer_spm.SACREBLEU_DIR = folder
        try:
            yield
        finally:
            tokenizer_spm.SACREBLEU_DIR = usual


def _shorten_home(path: Path) -> str:
    """The path as a person writes it; a result that is passed on should not name who made it."""
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)


def sign_metric(name: str, metric: "Metric") -> str:
    """sacrebleu's signature; for spBLEU with the start of its model's SHA-256, since any file could be in its place."""
    signature = str(metric.get_signature())
    if name != "spBLEU":
        return signature
    return f"{signature}|spm:{hashlib.sha256(find_spbleu_model().read_bytes()).hexdigest()[:12]}"


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
                    signature=sign_metric(name, metric),
                    decoding=decoding,
                    prompt_hash=prompt_hash,
                    test_set_hash=test_set_hash,
                    sentences=len(references),
                )
            )
    return tuple(scores), tuple(notes)
