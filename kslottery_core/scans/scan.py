"""Compare every matrix of two checkpoints, one after the other, in the order of the files."""

import time
from collections.abc import Callable
from pathlib import Path

from kslottery_core.checkpoints.matrix import BLOCK_BYTES, RowReader
from kslottery_core.checkpoints.parameter_pair import ParameterPair, open_parameter_pair
from kslottery_core.checkpoints.parameter_units import get_entry_bytes
from kslottery_core.checkpoints.parameters import check_unit
from kslottery_core.errors import KSInputError
from kslottery_core.ks import choose_device, compute_ks
from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop, ignore_progress, never_stop
from kslottery_core.scans.entry import (
    ScanEntry,
    SkippedParameter,
    build_entry,
    build_unchanged_entry,
    describe_parameter,
)
from kslottery_core.scans.record import (
    Scan,
    ScanRecord,
    ScanSpec,
    append_record,
    build_scan,
    resume_records,
    save_spec,
)


def scan_parameters(
    before: str | Path,
    after: str | Path,
    folder: str | Path | None = None,
    *,
    pattern: str = "*",
    unit: str = "row",
    device: str = "auto",
    before_revision: str | None = None,
    after_revision: str | None = None,
    progress: OnProgress = ignore_progress,
    should_stop: ShouldStop = never_stop,
) -> Scan:
    """Compare the matrices whose names match the glob `pattern`, with each row (or column) as one test.

    With a `folder` every finished matrix is written there at once, and a second call with the same checkpoints, unit
    and pattern goes on where the first stopped. When `should_stop` says so, at the latest after the block of rows in
    work, the scan so far is returned (see `Scan.remaining`); a KeyboardInterrupt passes through, with the same lines
    on disk. A matrix that cannot be compared is told in `Scan.skipped`. Progress events have the phase "scan", count
    bytes of the before side, and name the matrix as their message.
    Raises CheckpointError, KSInputError (unit, device) or RunError (the folder).
    """
    check_unit(unit)
    device = choose_device(device)
    pair = open_parameter_pair(before, after, before_revision=before_revision, after_revision=after_revision)
    names = pair.select(pattern)
    spec = ScanSpec(
        before=str(before),
        after=str(after),
        unit=unit,
        pattern=pattern,
        before_signature=pair.before.file_signature,
        after_signature=pair.after.file_signature,
    )
    records: dict[str, ScanRecord] = {}
    if folder is not None:
        folder = Path(folder)
        earlier = resume_records(folder, spec)
        if earlier is None:
            save_spec(folder, spec, names, pair.notes)
        else:
            records = earlier
    work = _Work(pair, unit, device, names, progress, should_stop)
    for name in names:
        if name not in records:
            try:
                record = work.compare(name)
            except _StopAsked:
                break
            if folder is not None:
                append_record(folder, record)
            records[name] = record
        work.finish(name)
    return build_scan(spec, names, records, pair.notes)


class _StopAsked(Exception):
    """Leaves a comparison from inside its progress events."""


class _Work:
    def __init__(
        self,
        pair: ParameterPair,
        unit: str,
        device: str,
        names: tuple[str, ...],
        progress: OnProgress,
        should_stop: ShouldStop,
    ) -> None:
        self._pair, self._unit, self._device = pair, unit, device
        self._progress, self._should_stop = progress, should_stop
        self._sizes = {name: _count_bytes(pair, name) for name in names}
        self._total, self._done = sum(self._sizes.values()), 0

    def compare(self, name: str) -> ScanRecord:
        self._report(name, 0.0)
        started = time.perf_counter()
        problem = self._pair.find_problem(name)
        if problem is not None:
            return self._skip(name, problem)
        before, after = self._pair.open(name)
        if before.reader == after.reader:  # the same tensor of the same file, as most of an adapter's base is
            shape = before.shape if self._unit == "row" else (before.shape[1], before.shape[0])
            return build_unchanged_entry(name, self._unit, shape, 0.0)
        if self._unit == "column" and _are_identical(before.reader, after.reader, lambda: self._report(name, 0.0)):
            shape = before.shape[1], before.shape[0]
            return build_unchanged_entry(name, self._unit, shape, time.perf_counter() - started)
        try:
            result = compute_ks(
                before.by_unit(self._unit),
                after.by_unit(self._unit),
                self._device,
                progress=lambda event: self._report(name, event.step / event.total),
            )
        except KSInputError as problem:
            columns = " (columns, read as rows)" if self._unit == "column" else ""
            return self._skip(name, f"{name}{columns}: {problem}")
        entry: ScanEntry = build_entry(name, self._unit, result, time.perf_counter() - started)
        return entry

    def finish(self, name: str) -> None:
        self._done += self._sizes[name]
        self._progress(ProgressEvent("scan", self._done, self._total, message=name))

    def _report(self, name: str, share: float) -> None:
        if self._should_stop():
            raise _StopAsked
        step = self._done + int(self._sizes[name] * share)
        self._progress(ProgressEvent("scan", step, self._total, message=name))

    def _skip(self, name: str, reason: str) -> SkippedParameter:
        layer, matrix = describe_parameter(name)
        return SkippedParameter(name, layer, matrix, self._unit, reason)


def _count_bytes(pair: ParameterPair, name: str) -> int:
    rows, columns = pair.before.shape(name)
    return rows * columns * get_entry_bytes(pair.before.dtype(name))


def _are_identical(before: RowReader, after: RowReader, between: Callable[[], None]) -> bool:
    """Whether all rows are equal and finite, so that none needs to be turned; stops at the first that differs."""
    import torch

    rows, columns = before.shape
    step = max(1, BLOCK_BYTES // (columns * 4))
    for start in range(0, rows, step):
        between()
        block = before.read_rows(start, min(start + step, rows))
        if not torch.equal(block, after.read_rows(start, min(start + step, rows)).to(block.dtype)):
            return False
        if not bool(torch.isfinite(block).all()):
            return False
    return True
