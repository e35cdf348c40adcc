"""The KS comparison of a study's model with one of its embedding tunings: computed once, kept in the study's folder."""

import contextlib
from pathlib import Path

from kslottery_core.errors import KSInputError, StudyError
from kslottery_core.ks import KSResult, compute_pair_ks, load_ks_result, save_ks_result
from kslottery_core.runs import RunRecord

KS_FOLDER = "ks"
TUNED_FOLDER = "model"


def locate_tuned_model(record: RunRecord) -> Path:
    """Where an embedding tuning keeps the model that it made."""
    return record.checkpoints / TUNED_FOLDER


def open_pair_result(folder: Path, model: str, revision: str | None, embedding_run: RunRecord) -> KSResult:
    """The comparison of `model` with what `embedding_run` made of it, kept by the id of that run, which never changes.

    On the CPU, whatever the runs use: the counts are the same, and a device that is held by a run stays alone with it.
    Raises `KSLotteryError` when the tuned model is gone and nothing is kept.
    """
    path = folder / KS_FOLDER / f"{embedding_run.run_id}.npz"
    with contextlib.suppress(KSInputError):  # not there yet, or torn
        return load_ks_result(path)
    tuned = locate_tuned_model(embedding_run)
    if not tuned.is_dir():
        raise StudyError(
            f"run {embedding_run.run_id!r}: expected the tuned model at {tuned}, found nothing; continue the study to "
            "tune it anew."
        )
    from kslottery_core.checkpoints import open_pair

    result = compute_pair_ks(open_pair(model, tuned, before_revision=revision), "cpu")
    save_ks_result(result, path)
    return result
