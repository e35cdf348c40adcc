"""One file lock: held by one process, free when it ends, and left-over files never block."""

import errno
import subprocess
import sys

import filelock
import pytest

from kslottery_core.jobs import hold_lock, read_holder

HOLD = (
    "import sys\n"
    "from pathlib import Path\n"
    "from kslottery_core.jobs import hold_lock\n"
    "with hold_lock(Path(sys.argv[1]), holder='the other one'):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds `tmp_path / "new" / "a.lock"`."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "new" / "a.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_is_held_by_one_process_and_names_it(holder, tmp_path):
    path = tmp_path / "new" / "a.lock"
    with hold_lock(path, timeout=0) as held:
        assert not held
    assert read_holder(path) == "the other one"
    with hold_lock(path, timeout=0.2) as held:
        assert not held
    holder.communicate("")
    with hold_lock(path, holder="me") as held:
        assert held
        assert read_holder(path) == "me"


def test_a_killed_holder_and_a_file_of_an_older_version_never_block(holder, tmp_path):
    path = tmp_path / "new" / "a.lock"
    holder.kill()
    holder.wait()
    assert path.exists()
    (tmp_path / "old.lock").write_text("4711 node7")
    for left in (path, tmp_path / "old.lock"):
        with hold_lock(left, timeout=0) as held:
            assert held


def test_two_in_one_process_exclude_each_other(tmp_path):
    with hold_lock(tmp_path / "a.lock"), hold_lock(tmp_path / "a.lock", timeout=0) as held:
        assert not held


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_goes_on_without_one(tmp_path, monkeypatch, number):
    def refuse(self, timeout=None):
        raise OSError(number, "no locks here")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with hold_lock(tmp_path / "a.lock") as held, hold_lock(tmp_path / "a.lock", timeout=0) as again:
        assert held and again


def test_a_system_without_locks_goes_on_without_one(tmp_path, monkeypatch):
    monkeypatch.setattr(filelock, "has_fcntl", False)
    with hold_lock(tmp_path / "a.lock") as held, hold_lock(tmp_path / "a.lock", timeout=0) as again:
        assert held and again


def test_a_lock_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError), hold_lock(tmp_path / "file" / "a.lock"):
        pass


def test_what_fails_inside_frees_the_lock(tmp_path):
    with pytest.raises(ValueError, match="inside"), hold_lock(tmp_path / "a.lock"):
        raise ValueError("inside")
    with hold_lock(tmp_path / "a.lock", timeout=0) as held:
        assert held
