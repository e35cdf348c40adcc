"""The process behind a run: waits for its device, tunes, evaluates, writes the result, and records how it ended.

`python -m kslottery_core.runs.worker FOLDER` is what `launch_run` starts.
"""

import contextlib
import faulthandler
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kslottery_core import jobs
from kslottery_core.errors import KSLotteryError, RunError
from kslottery_core.progress import OnProgress, ProgressEvent, ignore_progress
from kslottery_core.runs.preparing import build_task, choose_prompt, load_corpora
from kslottery_core.runs.record import CHECKPOINTS_FOLDER, RunStatus, load_run, load_status
from kslottery_core.runs.result import RunOutcome, forget_result, save_outputs, save_result
from kslottery_core.runs.session import Cancelled, RunSession
from kslottery_core.runs.spec import RunSpec
from kslottery_core.runs.store import hold_device, hold_run
from kslottery_core.runs.together import (
    announce_run,
    choose_devices,
    dismiss_followers,
    find_partners,
    follow,
    follows,
    forget_problem,
    read_problem,
)
from kslottery_core.tuning.checkpointing import discard_checkpoints, find_last_step


def work(
    folder: Path | str,
    *,
    tune: Callable[..., Any] | None = None,
    evaluate: Callable[..., Any] | None = None,
    on_progress: OnProgress = ignore_progress,
) -> RunStatus:
    """Do what the queued run in `folder` asks, in this process, and return how it ended.

    Whatever happens is written into the folder: errors end in the state `failed` with one sentence, SIGTERM, Ctrl-C
    and the `cancel` file in `cancelled` with what exists kept. Where a launcher such as torchrun started several
    processes, this is for the first of them, and the others train along (`together.follow`). `tune` and `evaluate`
    default to `kslottery_core.tuning.tune` and `kslottery_core.evaluation.evaluate`; `on_progress` also gets every
    event.
    Raises `RunError` when the folder holds no queued run.
    """
    folder = Path(folder).resolve()
    with hold_run(folder):
        status = load_status(folder)
        if status.state != "queued" or status.pid not in (None, os.getpid()):
            raise RunError(f"{folder}: expected a queued run without a process, found one that is {status.state}.")
        return _work(folder, status, tune, evaluate, on_progress)


def _work(
    folder: Path,
    status: RunStatus,
    tune: Callable[..., Any] | None,
    evaluate: Callable[..., Any] | None,
    on_progress: OnProgress,
) -> RunStatus:
    forget_problem(folder)
    session = RunSession(folder, status, on_progress, find_problem=lambda: read_problem(folder))
    with session.watched():
        try:
            try:
                session.write(**jobs.describe_own_process(), message="looks for its device")
                record = load_run(folder)
                if record.spec is None:
                    raise RunError(record.problem or f"{folder}: the spec cannot be read.")
                finished = _perform(session, record.spec, tune, evaluate)
            finally:
                session.raise_nothing()  # a late signal must not keep the final status from being written
            state, message = ("finished", None) if finished else ("cancelled", _describe_stop(session))
        except (Cancelled, KeyboardInterrupt):
            state, message = "cancelled", _describe_stop(session)
        except KSLotteryError as problem:
            state, message = "failed", str(problem)
        except BaseException as problem:
            session.log(traceback.format_exc())
            # What ended another process is why this one could not continue.
            state, message = "failed", read_problem(folder) or _describe_problem(problem, folder)
        session.log(state if message is None else f"{state}: {message}")
        session.write(state=state, ended=time.time(), message=message)
    return session.writer.status


def _perform(
    session: RunSession,
    spec: RunSpec,
    tune: Callable[..., Any] | None,
    evaluate: Callable[..., Any] | None,
) -> bool:
    """The run itself; False when it was stopped before its end."""
    folder, writer, outcome = session.folder, session.writer, RunOutcome()
    begun: list[bool] = []
    processes = find_partners(spec)
    devices = choose_devices(spec.device, processes)
    announce_run(folder, processes)

    def report(event: ProgressEvent) -> None:
        if event.phase != "load" and not begun:  # the checkpoint of an earlier attempt has been read and is intact
            begun.append(True)
            forget_result(folder)
        session.report(event)

    def report_wait(waits_for: str) -> None:
        session.log(waits_for)
        session.write(message=waits_for)

    with contextlib.ExitStack() as held:
        for device in devices:
            queue = jobs.identify_queue(device)
            session.write(device=devices[0], queue=queue)
            waiting = hold_device(folder, queue, on_wait=report_wait, should_stop=session.should_stop)
            if not held.enter_context(waiting):
                raise Cancelled
        together = f" in {processes.count} processes" if processes.several else ""
        session.log(f"runs {spec.method!r} on {', '.join(devices)}{together} (pid {os.getpid()})")
        if session.should_stop():
            raise Cancelled
        session.write(state="running", started=time.time(), phase="load", message=None)
        load_corpora(spec, outcome)
        jobs.use_free_cores()
        from kslottery_core import tuning

        task = build_task(spec, outcome, devices[0])
        tuned = (tune or tuning.tune)(
            task,
            folder / CHECKPOINTS_FOLDER,
            on_progress=report,
            should_stop=session.should_stop,
            on_loaded=lambda model, tokenizer: _check_test(spec, outcome, model, tokenizer),
            **({"resume": True} if writer.status.attempt > 1 else {}),
        )
        session.note_stops_only()
        outcome.report = tuned.report
        complete = not tuned.report.stopped and outcome.test is None
        try:
            if not tuned.report.stopped and outcome.test is not None:
                complete = not session.should_stop() and _evaluate(session, spec, outcome, tuned, evaluate)
        finally:  # what the tuning cost is known even when the evaluation fails
            session.write()  # measures the time
            save_result(folder, spec, writer.status, outcome, complete=complete)
        if complete:  # nobody will resume from them
            discard_checkpoints(folder / CHECKPOINTS_FOLDER)
        return complete


def _check_test(spec: RunSpec, outcome: RunOutcome, model: Any, tokenizer: Any) -> None:
    """Refuse a test that cannot be run before hours of tuning, not afterwards."""
    from kslottery_core.evaluation import check_prompts_fit, fill_prompts

    if outcome.test is not None and spec.test is not None:
        prompts = fill_prompts(outcome.test, spec.test, choose_prompt(outcome.test, spec))
        check_prompts_fit(model, tokenizer, prompts, spec.evaluation)


def _evaluate(
    session: RunSession, spec: RunSpec, outcome: RunOutcome, tuned: Any, evaluate: Callable[..., Any] | None
) -> bool:
    if evaluate is None:
        from kslottery_core import evaluation as evaluation_room

        evaluate = evaluation_room.evaluate
    assert outcome.test is not None and spec.test is not None
    evaluation = evaluate(
        tuned.model,
        tuned.tokenizer,
        outcome.test,
        spec.test,
        choose_prompt(outcome.test, spec),
        spec.evaluation,
        on_progress=session.report,
        should_stop=session.should_stop,
    )
    outcome.evaluation = evaluation
    save_outputs(session.folder, evaluation.outputs)
    return evaluation.complete


def _describe_stop(session: RunSession) -> str:
    if session.is_removed():
        return "stopped, because its folder was removed"
    last = session.last_step
    if last is None:
        step = find_last_step(session.folder / CHECKPOINTS_FOLDER)  # of an earlier attempt
        kept = "there is nothing to keep" if step is None else f"the checkpoint of step {step:,} is kept"
        return f"stopped before its first step; {kept}"
    doing = "tuning" if last.phase == "tune" else "evaluation"
    where = f"stopped at step {last.step:,} of {last.total:,} of the {doing}"
    saved = session.folder / CHECKPOINTS_FOLDER
    keeps = saved.is_dir() and any(saved.iterdir())
    return f"{where}; what it has done is kept in {CHECKPOINTS_FOLDER}" if keeps else where


def _describe_problem(problem: BaseException, folder: Path) -> str:
    kind = type(problem).__name__
    full = isinstance(problem, OSError) and problem.errno in jobs.FULL_DISK_ERRORS
    if full or "No space left on device" in str(problem):  # safetensors has an error class of its own
        return f"the disk of {folder} is full; free some space and resume the run, which continues where it saved last"
    advice = "a smaller batch size may help; " if "OutOfMemory" in kind or isinstance(problem, MemoryError) else ""
    return f"the run ended with an unexpected {kind}; {advice}the details are at the end of {jobs.LOG_FILE}"


def main(arguments: list[str]) -> int:
    """The command line of one worker: 0 for finished or cancelled, 1 for failed, 2 when it cannot even start."""
    faulthandler.enable()
    if len(arguments) != 1:
        print("usage: python -m kslottery_core.runs.worker FOLDER", file=sys.stderr)
        return 2
    if follows():
        return follow()
    try:
        status = work(arguments[0])
    except KSLotteryError as problem:
        print(problem, file=sys.stderr)
        return 2
    finally:
        dismiss_followers()
    return 1 if status.state == "failed" else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
