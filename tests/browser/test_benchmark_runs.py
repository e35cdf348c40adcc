"""The benchmark measures in a real browser; how quick things are is not judged here."""

import json
import os
import subprocess
import sys

import pytest


# Only the quickest part runs here; the others are run by hand, for minutes.
@pytest.mark.parametrize(
    ("part", "names"), [("dial", ["Frame while the dial moves, Alpha page", "Page follows the dial, Tokens page"])]
)
def test_a_part_of_the_benchmark_measures_tiny_pairs_and_leaves_nothing(tmp_path, part, names):
    out = tmp_path / "figures.json"
    command = [sys.executable, "-m", "dashboard.benchmark", "--small", "--repeats", "1", "--part", part]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    measured = json.loads(out.read_text())["measured"]
    for name in names:
        assert any(one["name"].startswith(name) for one in measured), name
    assert all(value > 0 for one in measured for value in one["values"] + one["reference_values"])
    assert not list(tmp_path.glob("kslottery-benchmark-*"))
