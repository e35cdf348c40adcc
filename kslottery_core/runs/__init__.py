"""Runs: what was asked (`RunSpec`), what happened (`RunRecord`), where they lie (`RunStore`), how they start and stop.

A run's folder is the truth. `spec.json` is written once; `status.json` is replaced as a whole; `metrics.jsonl` grows
by a line an event, one for each step; a file named `cancel` asks the run to stop; `checkpoints/`, `outputs.jsonl` and
`result.json` are what it leaves, `log.txt` is what its process printed. Reading any of it loads no model and no torch.
"""

from kslottery_core.jobs import LIVE_STATES, get_home
from kslottery_core.runs.launch import (
    cancel_run,
    check_resumable,
    find_resume_step,
    follow_run,
    launch_run,
    reopen_run,
    resume_run,
)
from kslottery_core.runs.preparing import check_inputs, check_spec
from kslottery_core.runs.record import ENDED_STATES, RunRecord, RunStatus, load_run
from kslottery_core.runs.spec import OUTPUTS, RunSpec
from kslottery_core.runs.store import RunStore

__all__ = [
    "ENDED_STATES",
    "LIVE_STATES",
    "OUTPUTS",
    "RunRecord",
    "RunSpec",
    "RunStatus",
    "RunStore",
    "cancel_run",
    "check_inputs",
    "check_resumable",
    "check_spec",
    "find_resume_step",
    "follow_run",
    "get_home",
    "launch_run",
    "load_run",
    "reopen_run",
    "resume_run",
]
