"""All runs of a person: one folder each, listed without loading any model."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from kslottery_core.errors import RunError
from kslottery_core.records import save_json
from kslottery_core.runs.folders import create_folder, describe_unknown, list_folders
from kslottery_core.runs.record import SPEC_FILE, RunRecord, load_run
from kslottery_core.runs.spec import RunSpec, check_spec, resolve_paths
from kslottery_core.runs.status import RunStatus, read_host, save_status

HOME_VARIABLE = "KSLOTTERY_HOME"


def get_home() -> Path:
    """The folder for runs and device locks: $KSLOTTERY_HOME, or ~/.kslottery."""
    given = os.environ.get(HOME_VARIABLE)
    return Path(given).expanduser().absolute() if given else Path.home() / ".kslottery"


class RunStore:
    """Run folders under `root` (default: `runs` in `get_home()`), and finished ones under read-only `extra_roots`."""

    def __init__(self, root: Path | str | None = None, extra_roots: Iterable[Path | str] = ()) -> None:
        self.root = get_home() / "runs" if root is None else Path(root).expanduser().absolute()
        self.extra_roots = tuple(Path(extra).expanduser().absolute() for extra in extra_roots)

    def list(self) -> tuple[RunRecord, ...]:
        """Every run, newest first. A folder that cannot be read is in the list with its `problem`."""
        records = [load_run(folder, read_only) for folder, read_only in self._list_folders()]
        return tuple(sorted(records, key=lambda record: (record.status.created, record.run_id), reverse=True))

    def get(self, run_id: str) -> RunRecord:
        """Look at one run. Raises `RunError` that names the closest ids when there is none of that id."""
        for folder, read_only in self._list_folders():
            if folder.name == run_id:
                return load_run(folder, read_only)
        run_ids = [folder.name for folder, _ in self._list_folders()]
        raise RunError(describe_unknown("run", "runs", run_id, run_ids, self.root))

    def create(self, spec: RunSpec) -> RunRecord:
        """Check the spec, make its paths absolute and lay out the folder of a queued run. Raises `KSLotteryError`."""
        check_spec(spec)
        spec = resolve_paths(spec)

        def fill(draft: Path, created: float) -> None:
            save_json(draft / SPEC_FILE, spec.to_json())
            message = "waits for its process to start"
            save_status(draft, RunStatus("queued", created, host=read_host(), message=message))

        return load_run(create_folder(self.root, spec.method, "run", fill, RunError))

    def delete(self, run_id: str) -> None:
        """Remove an ended run's folder with everything in it. Raises `RunError` for live and read-only runs."""
        record = self.get(run_id)
        if record.read_only:
            raise RunError(f"run {run_id!r}: it belongs to {record.folder.parent}, which is read-only; it stays.")
        if record.status.live:
            raise RunError(f"run {run_id!r}: it is {record.status.state}; cancel it before deleting it.")
        try:
            shutil.rmtree(record.folder)
        except OSError as problem:
            raise RunError(f"run {run_id!r}: its folder cannot be deleted ({problem}).") from None

    def _list_folders(self) -> Iterable[tuple[Path, bool]]:
        for root in (self.root, *self.extra_roots):
            yield from ((folder, root != self.root) for folder in list_run_folders(root))


def list_run_folders(root: Path) -> tuple[Path, ...]:
    """The run folders directly under `root`; none when it does not exist. Raises `RunError` when it is no folder."""
    return list_folders(root, "runs", RunError)
