"""A matrix far larger than the bound is compared within it: rows stream, nothing is held."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BOUND_BYTES = 512 * 2**20
ROWS, WIDTH = 256_000, 8_192
CHANGED_ROWS = range(100_000, 103_000)
SEED = 0

# Measured in a process of its own, since a peak cannot be taken back. Anonymous memory alone counts: pages of a mapped
# file are the page cache's, and the system takes them back when it needs them.
MEASURE = """
import re, sys, threading, time
import numpy as np, torch
from kslottery_core.checkpoints import open_pair
from kslottery_core.ks import compute_ks

def read_anonymous_bytes():
    with open("/proc/self/status") as status:
        return int(re.search(r"RssAnon:\\s+(\\d+) kB", status.read())[1]) * 1024

def watch():
    while not done.wait(0.01):
        peaks.append(read_anonymous_bytes())

pair = open_pair(*sys.argv[1:3])
compute_ks(torch.zeros(2, 4), torch.ones(2, 4), "cpu")
done, start = threading.Event(), read_anonymous_bytes()
peaks = [start]
watcher = threading.Thread(target=watch)
watcher.start()
result = compute_ks(pair.before, pair.after, "cpu")
done.set()
watcher.join()
print(max(peaks) - start, len(peaks), *np.flatnonzero(result.counts))
"""


def write_sparse(path: Path, filled_rows: range, scale: float) -> None:
    """A bfloat16 matrix of zeros that takes no room on the disk, but for rows of random numbers."""
    generator = torch.Generator().manual_seed(SEED)
    size = ROWS * WIDTH * 2
    header = json.dumps({"w": {"dtype": "BF16", "shape": [ROWS, WIDTH], "data_offsets": [0, size]}}).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        begin = file.tell()
        for row in filled_rows:
            file.seek(begin + row * WIDTH * 2)
            row_values = (torch.randn(WIDTH, generator=generator) * scale).bfloat16()
            file.write(row_values.view(torch.int16).numpy().tobytes())
        file.truncate(begin + size)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_two_files_of_four_gigabytes_are_compared_within_the_bound(tmp_path):
    write_sparse(tmp_path / "before.safetensors", CHANGED_ROWS, 0.02)
    write_sparse(tmp_path / "after.safetensors", CHANGED_ROWS, 0.03)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "before.safetensors"), str(tmp_path / "after.safetensors")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    peak, samples, *changed = map(int, done.stdout.split())
    assert changed == list(CHANGED_ROWS)
    assert samples > 20
    assert peak < BOUND_BYTES, f"{peak / 2**20:.0f} MB"
