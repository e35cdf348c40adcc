"""Jobs: work that outlives whoever started it. This room knows nothing of what the work is.

A job is a folder in a store. Its `status.json` says where the work stands and which process does it, `log.txt` is what
that process printed. The room offers the status and whether the process behind it is alive (`status`), folders and
their unique names (`store`), detached processes and signals (`process`), one kind of file lock (`lock`), the log
(`log`), what this machine offers (`machine`), and whose turn it is on a device (`device_queue`).
"""

from kslottery_core.jobs.device_queue import (
    QueuedJob,
    hold_device,
    hold_turn,
    identify_queue,
    locate_device_lock,
    resolve_device,
)
from kslottery_core.jobs.lock import hold_lock, locate_job_lock, read_holder
from kslottery_core.jobs.log import LOG_FILE, append_log_line, read_log_tail
from kslottery_core.jobs.machine import count_processors, measure_peak_process_bytes, read_host, use_free_cores
from kslottery_core.jobs.process import describe_own_process, find_process, signal_process, start_process, watch_start
from kslottery_core.jobs.status import (
    FULL_DISK_ERRORS,
    LIVE_STATES,
    STATUS_FILE,
    JobKind,
    JobStatus,
    StatusWriter,
    find_death,
    load_status,
    save_status,
)
from kslottery_core.jobs.store import (
    create_folder,
    describe_unknown,
    get_home,
    list_folders,
    read_folder_age,
    remove_folder,
)

__all__ = [
    "FULL_DISK_ERRORS",
    "LIVE_STATES",
    "LOG_FILE",
    "STATUS_FILE",
    "JobKind",
    "JobStatus",
    "QueuedJob",
    "StatusWriter",
    "append_log_line",
    "count_processors",
    "create_folder",
    "describe_own_process",
    "describe_unknown",
    "find_death",
    "find_process",
    "get_home",
    "hold_device",
    "hold_lock",
    "hold_turn",
    "identify_queue",
    "list_folders",
    "load_status",
    "locate_device_lock",
    "locate_job_lock",
    "measure_peak_process_bytes",
    "read_folder_age",
    "read_holder",
    "read_host",
    "read_log_tail",
    "remove_folder",
    "resolve_device",
    "save_status",
    "signal_process",
    "start_process",
    "use_free_cores",
    "watch_start",
]
