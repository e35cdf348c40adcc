"""A person's runs: one folder each, listed without loading a model, and their turns on a device."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from kslottery_core import jobs
from kslottery_core.errors import RunError
from kslottery_core.progress import ShouldStop
from kslottery_core.records import save_json
from kslottery_core.runs.preparing import check_spec
from kslottery_core.runs.record import RUN, SPEC_FILE, RunRecord, RunStatus, load_derived_status, load_run, load_status
from kslottery_core.runs.spec import RunSpec, resolve_paths

PATIENCE_SECONDS = 5.0  # for a process that is about to end


class RunStore:
    """Run folders under `root` (default: `runs` in `get_home()`), and finished ones under read-only `extra_roots`."""

    def __init__(self, root: Path | str | None = None, extra_roots: Iterable[Path | str] = ()) -> None:
        self.root = jobs.get_home() / "runs" if root is None else Path(root).expanduser().absolute()
        self.extra_roots = tuple(Path(extra).expanduser().absolute() for extra in extra_roots)

    def list(self) -> tuple[RunRecord, ...]:
        """Every run, newest first. A folder that cannot be read is in the list with its `problem`."""
        records = [load_run(folder, read_only) for folder, read_only in self._list_folders()]
        return tuple(sorted(records, key=lambda record: (record.status.created, record.run_id), reverse=True))

    def get(self, run_id: str) -> RunRecord:
        """Load one run. Raises `RunError` with the closest ids when there is none of that id."""
        for folder, read_only in self._list_folders():
            if folder.name == run_id:
                return load_run(folder, read_only)
        run_ids = [folder.name for folder, _ in self._list_folders()]
        raise RunError(jobs.describe_unknown(RUN, run_id, run_ids, self.root))

    def create(self, spec: RunSpec) -> RunRecord:
        """Check the spec, make its paths absolute and create the folder of a queued run. Raises `KSLotteryError`."""
        check_spec(spec)
        spec = resolve_paths(spec)

        def fill(draft: Path, created: float) -> None:
            save_json(draft / SPEC_FILE, spec.to_json())
            message = "waits for its process to start"
            jobs.save_status(draft, RunStatus("queued", created, host=jobs.read_host(), message=message))

        return load_run(jobs.create_folder(self.root, RUN, spec.method, fill))

    def delete(self, run_id: str) -> None:
        """Remove an ended run's folder with everything in it. Raises `RunError` for live and read-only runs."""
        folder = self._check_deletable(run_id)
        with hold_run(folder):
            self._check_deletable(run_id)  # somebody may have resumed it
            jobs.remove_folder(folder, RUN)

    def _check_deletable(self, run_id: str) -> Path:
        record = self.get(run_id)
        if record.read_only:
            raise RunError(f"run {run_id!r}: it belongs to {record.folder.parent}, which is read-only.")
        if record.status.live:
            raise RunError(f"run {run_id!r}: it is {record.status.state}; cancel it before deleting it.")
        return record.folder

    def _list_folders(self) -> Iterable[tuple[Path, bool]]:
        for root in (self.root, *self.extra_roots):
            yield from ((folder, root != self.root) for folder in jobs.list_folders(root, RUN))


@contextlib.contextmanager
def hold_run(folder: Path, timeout: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Keep others from working on, reopening or removing the run inside the block. Raises `RunError` when one does."""
    path = jobs.locate_job_lock(folder)
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(jobs.hold_lock(path, timeout=timeout, holder=str(folder)))
        except OSError as problem:
            raise RunError(f"run {folder.name!r}: its lock cannot be opened ({problem}).") from None
        if not held:
            raise RunError(f"run {folder.name!r}: another process works on it; wait for it, or cancel the run.")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # whoever waits for it notices that, and makes a new one
                path.unlink()


@contextlib.contextmanager
def hold_device(folder: Path, queue: str, *, on_wait: Callable[[str], None], should_stop: ShouldStop) -> Iterator[bool]:
    """Wait for the device of `queue` and hold it inside the block; yields False when `should_stop` came first.

    `on_wait` gets one short text whenever what the run waits for has changed.
    """
    own = load_status(folder)
    irrelevant = {folder}

    def list_ahead() -> list[jobs.QueuedJob]:
        """Live queued runs of the same store, host and queue that were created earlier, in their order.

        A run that does not know its queue yet counts too: it will within seconds. Folders that can never come first
        again become irrelevant, so that waiting beside a thousand ended runs costs nothing.
        """
        ahead = []
        for other in jobs.list_folders(folder.parent, RUN):
            if other in irrelevant:
                continue
            with contextlib.suppress(RunError):  # a broken or just deleted folder waits for nothing
                status = load_derived_status(other)
                earlier = (status.created, other.name) < (own.created, folder.name)
                if not earlier or status.state != "queued" or status.host != own.host:
                    irrelevant.add(other)
                elif status.queue in (None, queue):
                    ahead.append((status.created, other.name, other))
        return [jobs.QueuedJob(load_run(other).name, other) for _, _, other in sorted(ahead)]

    lock = jobs.locate_device_lock(folder.parent.parent, queue)
    turn = jobs.QueuedJob(load_run(folder).name, folder)
    with jobs.hold_device(lock, turn, list_ahead=list_ahead, on_wait=on_wait, should_stop=should_stop) as held:
        yield held
