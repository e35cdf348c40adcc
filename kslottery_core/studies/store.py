"""All studies of a person: one folder each, beside the runs that they are made of."""

import contextlib
import dataclasses
import difflib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from kslottery_core.corpora import CorpusSpec
from kslottery_core.errors import StudyError
from kslottery_core.records import save_json
from kslottery_core.runs import RunStore, get_home
from kslottery_core.studies.checks import check_study
from kslottery_core.studies.record import SPEC_FILE, StudyRecord, load_study, locate_runs
from kslottery_core.studies.spec import StudySpec, StudyText
from kslottery_core.studies.status import StudyStatus, save_study_status

_CLOSEST_IDS = 3


class StudyStore:
    """Study folders under `root` (default: `studies` in the home of the runs); `run_store` is `runs` beside it."""

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = get_home() / "studies" if root is None else Path(root).expanduser().absolute()
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
        if not folders:
            raise StudyError(f"study {study_id!r}: expected a study's id, found no studies at all in {self.root}.")
        ids = [folder.name for folder in folders]
        close = difflib.get_close_matches(study_id, ids, n=_CLOSEST_IDS, cutoff=0.3) or sorted(ids)[-_CLOSEST_IDS:]
        raise StudyError(
            f"study {study_id!r}: found no study of that id in {self.root}; the closest are {', '.join(close)}."
        )

    def create(self, spec: StudySpec) -> StudyRecord:
        """Check the spec, make its paths absolute and lay out a new study's folder. Raises `KSLotteryError`."""
        check_study(spec)
        spec = resolve_study_paths(spec)
        created = time.time()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(created))
        while True:
            study_id = f"{stamp}-study-{secrets.token_hex(2)}"
            try:
                # Laid out under a hidden name first, so that no list ever shows a folder without its spec.
                draft = self.root / f".{study_id}"
                draft.mkdir(parents=True)
                save_json(draft / SPEC_FILE, spec.to_json())
                save_study_status(draft, StudyStatus("new", created))
                draft.rename(self.root / study_id)
            except FileExistsError:
                continue
            except OSError as problem:
                raise StudyError(f"{self.root}: the study's folder cannot be written ({problem}).") from None
            return load_study(self.root / study_id)

    def delete(self, study_id: str) -> None:
        """Remove a study's folder; its runs stay in their store. Raises `StudyError` for a live study."""
        with hold_lock(self.get(study_id).folder):
            record = self.get(study_id)
            if record.status.live:
                raise StudyError(f"study {study_id!r}: it is {record.status.state}; stop it before deleting it.")
            try:
                shutil.rmtree(record.folder)
            except OSError as problem:
                raise StudyError(f"study {study_id!r}: its folder cannot be deleted ({problem}).") from None

    def _list_folders(self) -> tuple[Path, ...]:
        try:
            return tuple(Path(entry.path) for entry in os.scandir(self.root) if entry.is_dir() and entry.name[0] != ".")
        except FileNotFoundError:
            return ()
        except OSError as problem:
            raise StudyError(
                f"{self.root}: expected the folder of studies, and it cannot be listed ({problem})."
            ) from None


def resolve_study_paths(spec: StudySpec) -> StudySpec:
    """The same spec with whatever exists on this disk made absolute."""

    def resolve(source: str) -> str:
        path = Path(source).expanduser()
        return str(path.resolve()) if path.exists() else source

    def resolve_corpus(corpus: CorpusSpec) -> CorpusSpec:
        return dataclasses.replace(corpus, path=resolve(corpus.path))

    texts = tuple(StudyText(resolve_corpus(text.train), resolve_corpus(text.test)) for text in spec.texts)
    return dataclasses.replace(spec, model=resolve(spec.model), texts=texts)


@contextlib.contextmanager
def hold_lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the kernel's lock of a file or folder inside the block; yields False when `wait` is off and it is taken.

    It is free again the moment its process ends, however that happens. Raises `StudyError` where there is no such path.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as problem:
        raise StudyError(f"{path}: it cannot be locked ({problem}).") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
