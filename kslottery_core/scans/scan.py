"""Compare every matrix of two checkpoints, one after the other, in the order of the files."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from kslottery_core import jobs
from kslottery_core.checkpoints.matrix import BLOCK_BYTES, RowReader
from kslottery_core.checkpoints.parameter_pair import ParameterPair, open_parameter_pair
from kslottery_core.checkpoints.parameters import check_unit, get_entry_bytes
from kslottery_core.errors import CheckpointError, KSDeviceError, KSInputError
from kslottery_core.ks import choose_device, compute_ks
from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop, ignore_progress, never_stop
from kslottery_core.scans.entry import (
    Scan,
    ScanEntry,
    ScanRecord,
    ScanSpec,
    SkippedParameter,
    build_entry,
    build_unchanged_entry,
    describe_parameter,
)
from kslottery_core.scans.record import append_record, build_scan, hold_folder, open_records


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
    and pattern continues where the first stopped. When `should_stop` returns True, at the latest after the current
    block of rows, the scan so far is returned (see `Scan.remaining`); a KeyboardInterrupt passes through, with the same
    lines on disk. A matrix that cannot be compared is listed in `Scan.skipped`. Progress events have the phase "scan",
    count bytes of the before side, and name the matrix as their message. Before that the scan waits for its turn on the
    device, as a run does, with events of the phase "wait", whose message says for whom.
    Raises CheckpointError (files that change meanwhile, too), KSInputError (unit, device) or RunError (the
    folder; another process scans into it). What was finished before is kept then as well.
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
    strangers: tuple[str, ...] = ()
    with contextlib.nullcontext() if folder is None else hold_folder(folder):
        if folder is not None:
            records, strangers = open_records(Path(folder), spec, names, pair.notes)
        work = _Work(pair, unit, device, names, progress, should_stop)
        left = any(name not in records for name in names)
        name = f"the scan of {pair.after.source}"
        turn = jobs.hold_turn(device, name, on_wait=work.note_wait, should_stop=work.report_wait)
        with turn if left else contextlib.nullcontext(True) as held:
            for name in names if held else ():
                if name not in records:
                    try:
                        record = work.compare(name)
                    except _StopAsked:
                        break
                    _check_files(pair, spec, name)
                    if folder is not None:
                        append_record(Path(folder), spec, record)
                    records[name] = record
                work.finish(name)
    return build_scan(spec, names, records, (*pair.notes, *strangers))


def _check_files(pair: ParameterPair, spec: ScanSpec, name: str) -> None:
    """Raises CheckpointError when `name` may have been read from other files than the scan began with."""
    for side, signature in ((pair.before, spec.before_signature), (pair.after, spec.after_signature)):
        if side.file_signature != signature:
            raise CheckpointError(
                f"{side.source}: its files changed while {name!r} was being compared, so nothing is kept of that "
                "matrix; scan the files as they are now into another folder."
            )


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
        self._sizes = {name: pair.before.count_bytes(name) for name in names}
        self._total, self._done, self._reported = sum(self._sizes.values()), 0, 0
        self._waits_for: str | None = None

    def compare(self, name: str) -> ScanRecord:
        self._report(name, 0.0)
        started = time.perf_counter()
        problem = self._pair.find_problem(name)
        if problem is not None:
            return self._skip(name, problem)
        before, after = self._pair.open(name)
        # The same tensor of the same file, as most of an adapter's base is, needs no comparison. It is still read once,
        # so that NaN in it is reported as it would be if the adapter came merged into a file of its own.
        is_same = before.reader == after.reader
        if (is_same or self._unit == "column") and _are_identical(
            before.reader, after.reader, lambda share: self._report(name, share if is_same else 0.0)
        ):
            shape = before.shape if self._unit == "row" else (before.shape[1], before.shape[0])
            return build_unchanged_entry(name, self._unit, shape, time.perf_counter() - started)
        try:
            result = compute_ks(
                before.by_unit(self._unit),
                after.by_unit(self._unit),
                self._device,
                progress=lambda event: self._report(name, event.step / event.total),
            )
        except KSDeviceError:
            raise  # nothing is wrong with the matrix: another device, or this one later, can compare it
        except KSInputError as problem:
            columns = " (columns, read as rows)" if self._unit == "column" else ""
            return self._skip(name, f"{name}{columns}: {problem}")
        entry: ScanEntry = build_entry(name, self._unit, result, time.perf_counter() - started)
        return entry

    def note_wait(self, waits_for: str) -> None:
        self._waits_for = waits_for

    def report_wait(self) -> bool:
        """Report again and again what the scan waits for, so that whoever shows it can end it; whether to stop."""
        if self._waits_for is not None:
            self._progress(ProgressEvent("wait", 0, self._total, message=self._waits_for))
        return self._should_stop()

    def finish(self, name: str) -> None:
        self._done += self._sizes[name]
        self._progress(ProgressEvent("scan", self._done, self._total, message=name))

    def _report(self, name: str, share: float) -> None:
        if self._should_stop():
            raise _StopAsked
        self._reported = max(self._reported, self._done + int(self._sizes[name] * share))
        self._progress(ProgressEvent("scan", self._reported, self._total, message=name))

    def _skip(self, name: str, reason: str) -> SkippedParameter:
        layer, matrix = describe_parameter(name)
        return SkippedParameter(name, layer, matrix, self._unit, reason)


def _are_identical(before: RowReader, after: RowReader, between: Callable[[float], None]) -> bool:
    """Whether all rows are equal and finite, so that there is nothing to compare; stops at the first that differs.

    Readers of one tensor are read once. `between` gets the share that is done, before each block.
    """
    import torch

    is_same = before == after
    rows, columns = before.shape
    step = max(1, BLOCK_BYTES // (columns * get_entry_bytes(before.dtype)))
    for start in range(0, rows, step):
        between(start / rows)
        block = before.read_rows(start, min(start + step, rows))
        if not is_same and not torch.equal(block, after.read_rows(start, min(start + step, rows)).to(block.dtype)):
            return False
        if not bool(torch.isfinite(block).all()):
            return False
    return True
