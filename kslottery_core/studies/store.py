"""All studies of a person: one folder each, beside the runs that they are made of."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from kslottery_core import jobs
from kslottery_core.corpora import CorpusSpec
from kslottery_core.errors import StudyError
from kslottery_core.records import save_json
from kslottery_core.runs import RunStore
from kslottery_core.runs.spec import resolve_source
from kslottery_core.studies.checks import check_study
from kslottery_core.studies.record import SPEC_FILE, StudyRecord, load_study, locate_runs
from kslottery_core.studies.spec import StudySpec, StudyText
from kslottery_core.studies.status import STUDY, StudyStatus, save_study_status


class StudyStore:
    """Study folders under `root` (default: `studies` in the home of the runs); `run_store` is `runs` beside it."""

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = jobs.get_home() / "studies" if root is None else Path(root).expanduser().absolute()
        self.run_store = RunStore(locate_runs(self.root / "any"))

    def list(self) -> tuple[StudyRecord, ...]:
        """Every study, newest first. A folder that cannot be read is in the list with its `problem`."""
        records = [load_study(folder) for folder in self._list_folders()]
        return tuple(sorted(records, key=lambda record: (record.status.created, record.study_id), reverse=True))

    def get(self, study_id: str) -> StudyRecord:
        """Look at one study. Raises `StudyError` that names the closest ids when there is none of that id."""
        folders = self._list_folders()
        for folder in folders:
            if folder.name == study_id:
                return load_study(folder)
        raise StudyError(jobs.describe_unknown(STUDY, study_id, [path.name for path in folders], self.root))

    def create(self, spec: StudySpec) -> StudyRecord:
        """Check the spec, make its paths absolute and lay out a new study's folder. Raises `KSLotteryError`."""
        check_study(spec)
        spec = resolve_study_paths(spec)

        def fill(draft: Path, created: float) -> None:
            save_json(draft / SPEC_FILE, spec.to_json())
            save_study_status(draft, StudyStatus("new", created))

        return load_study(jobs.create_folder(self.root, STUDY, "study", fill))

    def delete(self, study_id: str) -> None:
        """Remove a study's folder; its runs stay in their store. Raises `StudyError` for a live study."""
        with hold_study_lock(jobs.locate_job_lock(self.get(study_id).folder)):
            record = self.get(study_id)
            if record.status.live:
                raise StudyError(f"study {study_id!r}: it is {record.status.state}; stop it before deleting it.")
            jobs.remove_folder(record.folder, STUDY)

    def _list_folders(self) -> tuple[Path, ...]:
        return jobs.list_folders(self.root, STUDY)


def resolve_study_paths(spec: StudySpec) -> StudySpec:
    """The same spec with whatever exists on this disk made absolute."""

    def resolve_corpus(corpus: CorpusSpec) -> CorpusSpec:
        return dataclasses.replace(corpus, path=resolve_source(corpus.path))

    texts = tuple(StudyText(resolve_corpus(text.train), resolve_corpus(text.test)) for text in spec.texts)
    return dataclasses.replace(spec, model=resolve_source(spec.model), texts=texts)


@contextlib.contextmanager
def hold_study_lock(path: Path, *, timeout: float | None = None) -> Iterator[bool]:
    """`jobs.hold_lock` with a sentence for a lock file that cannot be opened. Raises `StudyError`."""
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(jobs.hold_lock(path, timeout=timeout))
        except OSError as problem:
            raise StudyError(f"{path}: it cannot be locked ({problem}).") from None
        yield held
