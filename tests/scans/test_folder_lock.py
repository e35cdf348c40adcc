"""Two processes at one scan folder: the second is told, and nothing that is finished is lost."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest

from kslottery_core.errors import RunError
from kslottery_core.progress import ProgressEvent
from kslottery_core.scans import hold_folder, load_scan, scan_parameters
from kslottery_core.scans.record import LOCK_FILE

HOLD = (
    "import sys\n"
    "from kslottery_core.scans import hold_folder\n"
    "with hold_folder(sys.argv[1]):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the folder `tmp_path / "scan"` until its standard input is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "scan")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.communicate()


def test_a_folder_is_scanned_by_one_process_at_a_time(
    holder: "subprocess.Popen[str]", tiny_llama_folder: Path, tuned: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "scan"
    lines = folder / "parameters.jsonl"
    lines.write_bytes(b"the other process is in the middle of a li")
    with pytest.raises(RunError, match=rf"already being scanned by another process \(pid {holder.pid}\)"):
        scan_parameters(tiny_llama_folder, tuned, folder)
    assert lines.read_bytes() == b"the other process is in the middle of a li"
    assert not (folder / "scan.json").exists()
    holder.communicate()
    assert scan_parameters(tiny_llama_folder, tuned, folder).remaining == ()


def test_a_process_that_is_killed_holds_nothing(holder: "subprocess.Popen[str]", tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    with hold_folder(tmp_path / "scan"):
        assert (tmp_path / "scan" / LOCK_FILE).read_text().startswith(f"{os.getpid()} ")


def test_the_folder_is_held_from_the_first_matrix_to_the_last(
    tiny_llama_folder: Path, tuned: Path, tmp_path: Path
) -> None:
    told = []

    def scan_beside(event: ProgressEvent) -> None:
        with pytest.raises(RunError, match="already being scanned by this process") as refusal:
            scan_parameters(tiny_llama_folder, tuned, tmp_path)
        told.append(refusal)

    scan = scan_parameters(tiny_llama_folder, tuned, tmp_path, progress=scan_beside)
    assert len(told) >= len(scan.entries) > 0
    assert load_scan(tmp_path) == scan
    with hold_folder(tmp_path):
        pass


def test_a_holder_on_another_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold_folder(tmp_path):
        (tmp_path / LOCK_FILE).write_text("4711 node7")
        with pytest.raises(RunError, match=r"pid 4711 on node7"), hold_folder(tmp_path):
            pass
        (tmp_path / LOCK_FILE).write_text("")
        with pytest.raises(RunError, match="by another process;"), hold_folder(tmp_path):
            pass


def test_a_removed_folder_can_be_held_anew(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    with hold_folder(folder):
        shutil.rmtree(folder)
        with hold_folder(folder):
            assert (folder / LOCK_FILE).exists()


def test_a_system_without_locks_scans_without_one(
    tiny_llama_folder: Path, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filelock, "has_fcntl", False)
    with hold_folder(tmp_path):
        assert scan_parameters(tiny_llama_folder, tuned, tmp_path, pattern="*up_proj*").remaining == ()
