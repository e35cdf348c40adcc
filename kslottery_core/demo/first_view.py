"""What the first look at the demo needs, made beforehand: neither torch nor transformers is waited for.

It holds for these very files: a demo whose files were changed is opened and compared like any other pair.
"""

import hashlib
from pathlib import Path

from kslottery_core.checkpoints import compute_model_digest, open_pair
from kslottery_core.demo import DEMO_PATH
from kslottery_core.errors import KSLotteryError
from kslottery_core.ks import KSResult, compute_pair_ks, load_ks_result, save_ks_result

FOLDER = "first_view"


def save_first_view(demo: Path) -> None:
    """Compare the two sides of a demo and keep the result, and what its architecture is, in the folder `first_view`.

    Raises KSLotteryError.
    """
    pair = open_pair(demo / "before", demo / "after", description_folders=[demo / FOLDER])
    save_ks_result(compute_pair_ks(pair, "cpu"), _find_result(demo))


def load_first_result(demo: Path = DEMO_PATH) -> KSResult | None:
    """The kept result of the demo's pair; None where there is none, or not for the files as they are now."""
    try:
        return load_ks_result(_find_result(demo))
    except KSLotteryError:
        return None


def _find_result(demo: Path) -> Path:
    sides = "\n".join(compute_model_digest(demo / side) for side in ("before", "after"))
    return demo / FOLDER / f"ks-{hashlib.sha256(sides.encode()).hexdigest()[:32]}.npz"
