"""The processes that train one model together: `torchrun` or `accelerate launch` starts them, the environment tells.

Reading who one is loads no torch. Each process is told its `rank`; the one of rank 0 leads: it alone writes.
"""

import os
from dataclasses import dataclass
from typing import Any

from kslottery_core.errors import TuningError

LAUNCH_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
SHARDING_VARIABLE = "ACCELERATE_USE_FSDP"
_SHARDING_SETTINGS = {
    # Whoever checks or digests a model needs its values, which else only the first process would load.
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
    # A checkpoint is then plain files; accelerate also takes a backend for gathering it on the CPU.
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}


@dataclass(frozen=True)
class Processes:
    """One's own place among `count` processes, `local_count` of them on this machine.

    `shards` is whether FSDP was asked for, which gives each process a part of every parameter instead of a copy.
    """

    count: int = 1
    rank: int = 0
    local_count: int = 1
    local_rank: int = 0
    shards: bool = False

    @property
    def several(self) -> bool:
        """Whether there is anybody to agree with."""
        return self.count > 1

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes."""
        return self.rank == 0

    def choose_device(self, device: str) -> str:
        """`cuda` becomes this process's own GPU, "cuda:<local rank>"; a CPU is shared. Raises TuningError."""
        if not self.several or not device.startswith("cuda"):
            return device
        if ":" in device and device != f"cuda:{self.local_rank}":
            raise TuningError(
                f"device: each of {self.count} processes takes the GPU of its own number, found {device!r}; choose "
                "auto, cuda or cpu."
            )
        return f"cuda:{self.local_rank}"

    def join(self, device: str) -> None:
        """Meet the others, which all come here with the same kind of device; nothing for one process."""
        if not self.several:
            return
        from accelerate import PartialState

        if self.shards:
            os.environ.update(_SHARDING_SETTINGS)
        PartialState(cpu=device == "cpu")

    def agree(self, wanted: bool) -> bool:
        """Whether any process wants it. All must ask at the same moment."""
        if not self.several:
            return wanted
        return bool(self._reduce_largest(int(wanted)))

    def find_largest(self, number: int | None) -> int | None:
        """The largest number over all processes, None where none has any. All must ask at the same moment."""
        if not self.several:
            return number
        largest = self._reduce_largest(-1 if number is None else number)
        return None if largest < 0 else largest

    def share(self, content: Any) -> Any:
        """What the leader gives, told to everybody. All must ask at the same moment."""
        if not self.several:
            return content
        import torch

        shared = [content]
        torch.distributed.broadcast_object_list(shared, src=0, device=_find_device())
        return shared[0]

    def wait(self) -> None:
        """Go on when everybody has come here."""
        if self.several:
            self._reduce_largest(0)

    def _reduce_largest(self, number: int) -> int:
        import torch

        value = torch.tensor(number, dtype=torch.int64, device=_find_device())
        torch.distributed.all_reduce(value, op=torch.distributed.ReduceOp.MAX)
        return int(value.item())


def _find_device() -> Any:
    from accelerate import PartialState

    return PartialState().device


def read_processes() -> Processes:
    """This process's place as its launcher put it into the environment; alone where nobody did."""
    try:
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count < 2:
            return Processes()
        rank = int(os.environ["RANK"])
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
        local_count = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    except (KeyError, ValueError):
        raise TuningError(
            "processes: WORLD_SIZE is set without a RANK that is a number; start them with torchrun or accelerate "
            "launch, or unset WORLD_SIZE."
        ) from None
    shards = os.environ.get(SHARDING_VARIABLE, "false").lower() in ("true", "1")
    return Processes(count, rank, local_count, local_rank, shards)


def leave_launch(environment: dict[str, str]) -> dict[str, str]:
    """The same environment for a process that is on its own: nobody's rank is handed down."""
    own = ("TORCHELASTIC_", "ACCELERATE_USE_FSDP", "FSDP_")
    return {
        name: value for name, value in environment.items() if name not in LAUNCH_VARIABLES and not name.startswith(own)
    }
