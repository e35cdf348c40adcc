"""KS-Lottery: which few token embeddings of a language model moved, whether they suffice, and how far to trust that.

Compare a model's token embeddings before and after fine-tuning with a two-sample Kolmogorov-Smirnov test per token
(`compute_ks`), call the tokens that moved winning tickets (`select_ticket`), train only those rows
(`kslottery_core.tuning`) and score the result beside everything else (`kslottery_core.evaluation`).
Method: Yuan et al., "KS-Lottery", arXiv 2402.02801.

Shape letters, used in comments and docstrings everywhere:

V  vocabulary: number of token embeddings (rows)
d  width: coordinates of one embedding row
k  size of a ticket (tokens); as a count, k = d * D of one token's test
B  batch: sentences in one step
T  sequence: tokens of one sentence

Importing this package loads neither torch nor streamlit nor plotly: the names below are fetched when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_ROOM_OF_NAME = {
    "KSLotteryError": "kslottery_core.errors",
    "KSResult": "kslottery_core.ks",
    "Ticket": "kslottery_core.tickets",
    "compute_ks": "kslottery_core.ks",
    "compute_p_values": "kslottery_core.ks",
    "load_ticket": "kslottery_core.tickets",
    "open_embedding": "kslottery_core.checkpoints",
    "open_pair": "kslottery_core.checkpoints",
    "save_ticket": "kslottery_core.tickets",
    "select_ticket": "kslottery_core.tickets",
}

if TYPE_CHECKING:
    from kslottery_core.checkpoints import open_embedding, open_pair
    from kslottery_core.errors import KSLotteryError
    from kslottery_core.ks import KSResult, compute_ks, compute_p_values
    from kslottery_core.tickets import Ticket, load_ticket, save_ticket, select_ticket

__all__ = [
    "KSLotteryError",
    "KSResult",
    "Ticket",
    "compute_ks",
    "compute_p_values",
    "load_ticket",
    "open_embedding",
    "open_pair",
    "save_ticket",
    "select_ticket",
]


def __getattr__(name: str) -> Any:
    if name in _ROOM_OF_NAME:
        return getattr(importlib.import_module(_ROOM_OF_NAME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
