"""What a machine offers: processors, threads and memory, on systems that lack a part of what Linux has."""

import os
import sys
from types import SimpleNamespace

import pytest

from kslottery_core.jobs import machine


@pytest.mark.parametrize(
    ("processors", "load", "usual", "threads"),
    [(2, 0.1, 1, 2), (2, 0.9, 1, 1), (2, 7.0, 1, 1), (64, 3.0, 32, 32), (64, 40.0, 32, 24), (1, 0.0, 1, 1)],
)
def test_threads_are_those_processors_that_are_free(processors, load, usual, threads):
    assert machine.choose_threads(processors, load, usual) == threads


def test_a_run_takes_every_free_processor_although_one_ended_a_moment_ago(monkeypatch):
    """The load average after an hour of two busy processors, none of which is busy any more."""
    import torch

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (2.0, 2.0, 2.0))
    monkeypatch.setattr(machine, "count_processors", lambda: 2)
    monkeypatch.setattr(machine.psutil, "cpu_count", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    chosen = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    for percent in (0.5, 50.0, 100.0):
        monkeypatch.setattr(machine.psutil, "cpu_percent", lambda interval, percent=percent: percent)
        machine.use_free_cores()
    assert chosen == [2, 1, 1]


def test_busy_processors_are_counted_as_they_are_now():
    assert 0 <= machine.count_busy_processors(0.1) <= (os.cpu_count() or 1)


def test_processors_are_counted_on_systems_without_masks(monkeypatch):
    monkeypatch.delattr(machine.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine.psutil.Process, "cpu_affinity", lambda self: [0, 1, 4], raising=False)
    assert machine.count_processors() == 3
    monkeypatch.delattr(machine.psutil.Process, "cpu_affinity")
    monkeypatch.setattr(machine.psutil, "cpu_count", lambda: 6)
    assert machine.count_processors() == 6
    monkeypatch.setattr(machine.psutil, "cpu_count", lambda: None)
    assert machine.count_processors() == 1


def test_peak_memory_is_in_bytes_and_unknown_without_a_system_that_records_it(monkeypatch):
    assert machine.measure_peak_process_bytes() > 1_000_000
    monkeypatch.setitem(sys.modules, "resource", None)
    recorded = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=4711))
    monkeypatch.setattr(machine.psutil, "Process", lambda: recorded)
    assert machine.measure_peak_process_bytes() == 4711
    recorded.memory_info = lambda: SimpleNamespace(rss=1)
    assert machine.measure_peak_process_bytes() is None
