"""Whether a study can be run: looks into every file that it will need, so that a wrong one is told before training."""

from pathlib import Path

from kslottery_core.checkpoints import open_embedding
from kslottery_core.corpora import CorpusSpec
from kslottery_core.errors import StudyError
from kslottery_core.jobs import resolve_device
from kslottery_core.runs import check_inputs
from kslottery_core.studies.cells import list_cells
from kslottery_core.studies.identity import build_run_spec
from kslottery_core.studies.spec import ROW_METHODS, StudySpec
from kslottery_core.tickets import Ticket, check_ticket_fits


def check_study(spec: StudySpec) -> None:
    """Raise `KSLotteryError` with one sentence unless the model, the texts, the rows and the device are there.

    Every method is looked at on every text as `check_inputs` does: the first sentence pairs, and for a model on this
    disk its headers, config and tokenizer.
    """
    resolve_device(spec.device)
    for text in spec.texts:
        if _name_content(text.train) == _name_content(text.test):
            raise StudyError(
                f"texts: expected a test text that is not trained on, found {text.test.path} as both; a score on it "
                "would say nothing, so name another file or split."
            )
    looked_at = set()
    for cell in list_cells(spec):
        method = spec.arms[cell.arm].method
        has_rows = method in ROW_METHODS
        # Rows are chosen, and copied, when their turn comes; until then any stand for them.
        run = build_run_spec(
            spec,
            cell,
            Ticket((0,), 1, "list") if has_rows else None,
            spec.model if method == "transfer" else None,
        )
        once = (method, run.tuning.lora, run.tuning.prefix, cell.text)
        if once not in looked_at:
            looked_at.add(once)
            check_inputs(run)
    if Path(spec.model).expanduser().exists():
        _check_rows(spec, *open_embedding(spec.model).shape)


def _name_content(corpus: CorpusSpec) -> tuple[object, ...]:
    """What is read, whichever part of it is kept."""
    path = Path(corpus.path).expanduser()
    where = str(path.resolve()) if path.exists() else corpus.path
    return where, corpus.source_name, corpus.target_name, corpus.split, corpus.subset


def _check_rows(spec: StudySpec, vocabulary_size: int, width: int) -> None:
    """Rows that a V x d embedding cannot give."""
    for arm in spec.arms:
        if arm.rows is None:
            continue
        if arm.rows.ticket is not None:
            check_ticket_fits(arm.rows.ticket, vocabulary_size, width)
        wanted = arm.rows.count or arm.rows.top_k or 0
        if wanted > vocabulary_size:
            raise StudyError(
                f"arm {arm.label!r}: expected at most the {vocabulary_size:,} rows that this model has, found "
                f"{wanted:,}; ask for fewer."
            )
