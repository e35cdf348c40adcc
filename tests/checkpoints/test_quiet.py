"""What is silenced for the whole process is put back as it was, however threads overlap."""

import sys
import threading
import warnings

import pytest
from transformers.utils import logging

from kslottery_core.checkpoints.library_output import (
    keep_error_stream_quiet,
    keep_transformers_quiet,
    keep_warnings_quiet,
)


def read_state() -> tuple[object, ...]:
    return logging.get_verbosity(), logging.is_progress_bar_enabled(), list(warnings.filters), sys.stderr


def test_state_comes_back_when_the_first_thread_leaves_before_the_second() -> None:
    before = read_state()
    first_is_in, second_is_in, first_is_out = threading.Event(), threading.Event(), threading.Event()
    inside = []

    def go_first() -> None:
        with keep_transformers_quiet(), keep_error_stream_quiet():
            first_is_in.set()
            second_is_in.wait(10)
        first_is_out.set()

    def go_second() -> None:
        first_is_in.wait(10)
        with keep_transformers_quiet(), keep_error_stream_quiet():
            second_is_in.set()
            first_is_out.wait(10)
            inside.append(read_state())

    threads = [threading.Thread(target=go) for go in (go_first, go_second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert inside[0][:2] == (logging.CRITICAL, False)
    assert inside[0][3] is not before[3]
    assert read_state() == before


def test_state_comes_back_after_many_threads_in_any_order() -> None:
    before = read_state()
    start = threading.Barrier(8)
    loud = []

    def work() -> None:
        start.wait(10)
        for _ in range(50):
            with keep_transformers_quiet(), keep_warnings_quiet():
                if logging.get_verbosity() != logging.CRITICAL:
                    loud.append(logging.get_verbosity())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert loud == []
    assert read_state() == before


def test_inner_use_leaves_the_outer_one_quiet() -> None:
    before = read_state()
    with keep_transformers_quiet():
        with keep_transformers_quiet():
            pass
        assert logging.get_verbosity() == logging.CRITICAL
        warnings.warn("unheard", UserWarning, stacklevel=1)
    assert read_state() == before


def test_failure_inside_puts_everything_back() -> None:
    before = read_state()
    with pytest.raises(ValueError, match="as it is"), keep_transformers_quiet(), keep_error_stream_quiet():
        raise ValueError("as it is")
    assert read_state() == before
