"""A few points of one embedding tuning and another seed, so that the demo has several after checkpoints to compare."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kslottery_core.checkpoints import open_pair
from kslottery_core.ks import compute_pair_ks
from kslottery_core.runs import RunSpec
from kslottery_core.tickets import Ticket
from kslottery_core.tuning import TuningSettings, save_ticket_rows

POINTS = ((25, 42), (50, 42), (100, 42), (200, 42), (100, 1))
QUICK_POINTS = ((1, 42), (2, 42))
"""Steps and seed. The schedule is constant: fewer steps of one seed are an earlier point of the same training."""

SERIES_TUNING = TuningSettings(learning_rate=5e-3, batch_size=32, schedule="constant", warmup_share=0.0)


def build_series(out: Path, spec: RunSpec, quick: bool, perform: Callable[[RunSpec], Path]) -> None:
    """Write `series/seed-S-step-N/` below the demo's folder, each holding the rows that this tuning changed.

    `spec` is the embedding tuning to vary; `perform` runs a spec and returns its folder.
    """
    for steps, seed in QUICK_POINTS if quick else POINTS:
        tuning = dataclasses.replace(SERIES_TUNING, max_steps=steps, seed=seed)
        run = perform(dataclasses.replace(spec, name=f"Series: seed {seed}, step {steps}", tuning=tuning))
        save_changed_rows(out / "before", run / "checkpoints" / "model", out / "series" / f"seed-{seed}-step-{steps}")


def save_changed_rows(before: Path, after: Path, folder: Path) -> None:
    """Keep what an embedding tuning changed, and no more: a tuned-ticket folder of all changed rows."""
    pair = open_pair(before, after)
    result = compute_pair_ks(pair, "cpu")
    token_ids = tuple(int(token_id) for token_id in np.flatnonzero(result.changed))
    ticket = Ticket(
        token_ids=token_ids,
        tokens=tuple(pair.tokens[token_id] for token_id in token_ids),
        rule="list",
        width=result.width,
        vocabulary_size=result.vocabulary_size,
        fingerprint_before=result.fingerprint_before,
        fingerprint_after=result.fingerprint_after,
        note="Every row that embedding tuning changed.",
    )
    # The base is named from the folder itself, so that it is found wherever the repository lies.
    save_ticket_rows(folder, ticket, pair.after.read_token_rows(token_ids), os.path.relpath(before, folder))
