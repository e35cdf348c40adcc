"""A scan on disk: `scan.json` says what was asked, `parameters.jsonl` gets a line for each matrix as it is done.

Every line carries the digest of the scan it belongs to, so that lines which another scan left there are never taken
for this one's, whatever became of its `scan.json`. One process at a time writes into a folder.
"""

import contextlib
import dataclasses
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from kslottery_core.errors import RunError
from kslottery_core.jobs import hold_lock, read_holder
from kslottery_core.records import append_json_line, drop_torn_line, load_json, load_json_lines, read_record, save_json
from kslottery_core.scans.entry import Scan, ScanEntry, ScanRecord, ScanSpec, SkippedParameter

SPEC_FILE, LINES_FILE, LOCK_FILE = "scan.json", "parameters.jsonl", "scan.lock"


@dataclass(frozen=True)
class _ScanFile:
    spec: ScanSpec
    parameters: tuple[str, ...]
    notes: tuple[str, ...] = ()


def load_scan(folder: str | Path) -> Scan:
    """Read a scan's folder, finished or not. An incomplete last line is skipped: it is being written.

    Raises RunError for a folder without a scan or with a broken one.
    """
    folder = Path(folder)
    if not (folder / SPEC_FILE).is_file():
        raise RunError(
            f"{folder}: expected the folder of a scan, found no {SPEC_FILE} there; give `scan --out`'s folder."
        )
    found = read_record(_ScanFile, load_json(folder / SPEC_FILE, RunError), str(folder / SPEC_FILE), RunError)
    records, strangers = load_records(folder / LINES_FILE, found.spec)
    return build_scan(found.spec, found.parameters, records, (*found.notes, *strangers))


def build_scan(
    spec: ScanSpec, parameters: tuple[str, ...], records: dict[str, ScanRecord], notes: tuple[str, ...]
) -> Scan:
    """Entries and skipped ones in the order of `parameters`."""
    ordered = [records[name] for name in parameters if name in records]
    return Scan(
        spec=spec,
        parameters=parameters,
        entries=tuple(record for record in ordered if isinstance(record, ScanEntry)),
        skipped=tuple(record for record in ordered if isinstance(record, SkippedParameter)),
        notes=notes,
    )


def load_records(path: Path, spec: ScanSpec) -> tuple[dict[str, ScanRecord], tuple[str, ...]]:
    """(the finished matrices of the scan `spec` by name, a note where the file holds lines of another scan too).

    Nothing where the file is missing. Damaged lines are noted too; their matrices count as not done.
    """
    records: dict[str, ScanRecord] = {}
    strangers = damaged = 0
    try:
        lines = load_json_lines(path)
    except OSError as problem:
        raise RunError(f"{path}: the file cannot be read ({problem}).") from None
    for number, content in enumerate(lines, 1):
        if isinstance(content, dict) and content.pop("scan", None) != spec.digest:
            strangers += 1
            continue
        try:
            record = _read_line(content, f"{path}, line {number}")
        except RunError:
            damaged += 1
            continue
        records.setdefault(record.parameter, record)
    return records, _describe_lines(path, strangers, damaged)


def _read_line(content: Any, where: str) -> ScanRecord:
    kind: type[Any] = SkippedParameter if isinstance(content, dict) and "skipped" in content else ScanEntry
    record: ScanRecord = read_record(kind, content, where, RunError)
    if isinstance(record, ScanEntry):
        _check_entry(record, where)
    return record


def _describe_lines(path: Path, strangers: int, damaged: int) -> tuple[str, ...]:
    notes = []
    if strangers:
        lines = "1 line belongs" if strangers == 1 else f"{strangers:,} lines belong"
        notes.append(f"{path}: {lines} to another scan or an earlier version, and nothing is taken from there.")
    if damaged:
        lines = "1 line was" if damaged == 1 else f"{damaged:,} lines were"
        notes.append(f"{path}: {lines} damaged; a resumed scan compares their matrices again.")
    return tuple(notes)


def _check_entry(entry: ScanEntry, where: str) -> None:
    counts, numbers = entry.counts_seen, entry.numbers
    ascending = all(one < other for one, other in pairwise(counts))
    if (
        not counts
        or not ascending
        or not 0 <= counts[0] <= counts[-1] <= entry.width
        or len(numbers) != len(counts)
        or sum(numbers) != entry.units
        or len(entry.top_units) != len(entry.top_counts)
    ):
        raise RunError(
            f"{where}: expected the counts of {entry.units} units, each between 0 and {entry.width}, found others."
        )


def open_records(
    folder: Path, spec: ScanSpec, parameters: tuple[str, ...], notes: tuple[str, ...]
) -> tuple[dict[str, ScanRecord], tuple[str, ...]]:
    """What earlier calls with this `spec` have done in `folder`, as `load_records` returns it.

    Writes scan.json where there is none, and removes a last line that was cut off. The caller holds the folder. Raises
    RunError when it holds another scan or cannot be written.
    """
    if (folder / SPEC_FILE).exists():
        difference = _find_difference(load_scan(folder).spec, spec)
        if difference is not None:
            raise RunError(
                f"{folder}: this folder holds another scan ({difference}); choose another folder or empty it."
            )
    try:
        drop_torn_line(folder / LINES_FILE)
        (folder / LINES_FILE).touch()
        if not (folder / SPEC_FILE).exists():
            save_json(folder / SPEC_FILE, dataclasses.asdict(_ScanFile(spec, parameters, notes)))
    except OSError as problem:
        raise _explain_unwritable(folder, problem) from None
    return load_records(folder / LINES_FILE, spec)


def append_record(folder: Path, spec: ScanSpec, record: ScanRecord) -> None:
    """Add one line to parameters.jsonl. Raises RunError when the disk does not take it."""
    line = {"scan": spec.digest, **dataclasses.asdict(record)}
    try:
        append_json_line(folder / LINES_FILE, line)
    except OSError as problem:
        raise _explain_unwritable(folder, problem) from None


def _find_difference(earlier: ScanSpec, wanted: ScanSpec) -> str | None:
    """How two scans differ, or None. A checkpoint may be spelled otherwise as long as its files are the same."""
    for name in ("unit", "pattern"):
        if getattr(earlier, name) != getattr(wanted, name):
            return f"its {name} is {getattr(earlier, name)!r}, now {getattr(wanted, name)!r} is asked for"
    for side in ("before", "after"):
        if getattr(earlier, f"{side}_signature") == getattr(wanted, f"{side}_signature"):
            continue
        if getattr(earlier, side) == getattr(wanted, side):
            return f"the files of {side} have changed since"
        return f"its {side} is {getattr(earlier, side)!r}, now {getattr(wanted, side)!r} is asked for"
    return None


@contextlib.contextmanager
def hold_folder(folder: str | Path) -> Iterator[None]:
    """Make `folder` where it is missing, and keep other processes from scanning into it inside the block.

    Raises RunError at once when another process holds it, or when the folder cannot be written.
    """
    folder = Path(folder)
    path = folder / LOCK_FILE
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(hold_lock(path, timeout=0, holder=f"{os.getpid()} {platform.node()}"))
        except OSError as problem:
            raise _explain_unwritable(folder, problem) from None
        if not held:
            raise RunError(
                f"{folder}: this folder is already being scanned {_describe_holder(read_holder(path))}; wait until "
                "that has ended, or stop it: what is done is kept."
            )
        yield


def _describe_holder(content: str) -> str:
    number, _, host = content.partition(" ")
    if not number.isdecimal():
        return "by another process"  # it has the lock and is about to write its number
    if host != platform.node():
        return f"by another process (pid {number} on {host})"
    return "by this process" if int(number) == os.getpid() else f"by another process (pid {number})"


def _explain_unwritable(folder: Path, problem: OSError) -> RunError:
    """The sentence for a folder that cannot be written."""
    return RunError(f"{folder}: the scan cannot be written there ({problem}); choose another folder.")
