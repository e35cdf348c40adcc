"""The one room with caches. Keys are paths, file signatures and small settings, never arrays or models.

What a comparison found is also kept on disk, under `cache` in KS-Lottery's home folder, so that a pair whose files
were seen before opens at once, in another session and after a restart.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.loaders.kept_results import get_cached_result_path, list_description_folders, load_kept_result
from dashboard.loaders.shelf import ResultShelf
from kslottery_core.demo import DEMO_PATH
from kslottery_core.errors import KSLotteryError
from kslottery_core.progress import OnProgress, ignore_progress

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from kslottery_core.checkpoints import EmbeddingMatrix, EmbeddingPair
    from kslottery_core.evaluation import Output
    from kslottery_core.ks import CDFGap, KSResult
    from kslottery_core.runs import RunRecord, RunStore
    from kslottery_core.tickets import Ticket, TicketCurve

_CACHE_VERSION = "1"  # part of every file name on disk: raise it when the meaning of a stored result changes


@dataclass(frozen=True)
class PairChoice:
    """Which two checkpoints are compared, as the person gave them; None stands for the bundled demo."""

    before: str | None = None
    after: str | None = None
    before_revision: str | None = None
    after_revision: str | None = None
    parameter: str | None = None


@dataclass(frozen=True)
class AlphaChoice:
    """The rule that turns counts into a ticket: by alpha, or, with `top_k`, the k tokens with the largest D."""

    significance_level: float = 0.05
    correction: str = "none"
    p_value_method: str = "exact"
    top_k: int | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """An open pair and what the KS test found. `key` digests both sides' files; `from_cache`: not computed just now.

    `cache_problem` says why the result could not be kept for next time.
    """

    choice: PairChoice
    pair: EmbeddingPair
    result: KSResult
    key: str
    from_cache: bool
    cache_problem: str | None = None


@dataclass(frozen=True, eq=False)
class SelectedTicket:
    """A ticket with what the pages show of it; `winners` is a mask (V,)."""

    ticket: Ticket
    winners: np.ndarray
    curve: TicketCurve


def resolve_choice(choice: PairChoice) -> PairChoice | None:
    """Put the demo's folders where nothing was chosen; None when there is no demo either."""
    if choice.before and choice.after:
        return choice
    before, after = DEMO_PATH / "before", DEMO_PATH / "after"
    if choice.before or choice.after or not (before.is_dir() and after.is_dir()):
        return None
    return PairChoice(str(before), str(after))


def is_demo(choice: PairChoice) -> bool:
    """Whether the choice is the bundled pair: its folders as they are, without a parameter or a revision asked for."""
    return choice == PairChoice(str(DEMO_PATH / "before"), str(DEMO_PATH / "after"))


def list_downloads(choice: PairChoice) -> tuple[str, ...]:
    """Which sides of a pair are no path on this disk, so that opening them asks the model hub."""
    from kslottery_core.checkpoints.sources import find_source

    found = []
    for source, revision in ((choice.before, choice.before_revision), (choice.after, choice.after_revision)):
        try:
            if find_source(source or "", revision).kind == "hub":
                found.append(source or "")
        except KSLotteryError:
            continue  # neither a path nor a hub id: opening it says so, and downloads nothing
    return tuple(dict.fromkeys(found))


def find_demo_text(part: str) -> Path | None:
    """The demo's parallel text of `part`, "train" or "test"; None without a demo."""
    return next(iter(sorted(DEMO_PATH.rglob(f"*{part}*.jsonl"))), None)


@st.cache_resource(
    max_entries=8, show_spinner=False, validate=lambda opened: opened[1] == compute_comparison_key(opened[0])
)
def _open_pair(choice: PairChoice) -> tuple[EmbeddingPair, str]:
    from kslottery_core.checkpoints import open_pair

    pair = open_pair(
        choice.before or "",
        choice.after or "",
        parameter=choice.parameter,
        before_revision=choice.before_revision,
        after_revision=choice.after_revision,
        description_folders=list_description_folders(DEMO_PATH),
    )
    return pair, compute_comparison_key(pair)


def compute_comparison_key(pair: EmbeddingPair) -> str:
    """A digest of both sides' files: what a comparison is cached by."""
    text = f"{_CACHE_VERSION} {pair.before.file_signature} {pair.after.file_signature}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@st.cache_resource(show_spinner=False)
def _load_shelf() -> ResultShelf[KSResult]:
    return ResultShelf()


def load_comparison(choice: PairChoice, progress: OnProgress = ignore_progress) -> Comparison:
    """Open both sides and compare them, or take what an earlier comparison of the same files found.

    Raises KSLotteryError. `progress` is told about rows compared; it is not called when nothing has to be computed.
    """
    from kslottery_core.ks import compute_pair_ks, save_ks_result

    pair, key = _open_pair(choice)
    shelf, cache_problem = _load_shelf(), None
    with shelf.get_lock(key):
        result = shelf.get(key)
        if result is not None:
            return Comparison(choice, pair, result, key, from_cache=True)
        path = get_cached_result_path(key)
        result = load_kept_result(path, DEMO_PATH if is_demo(choice) else None)
        from_cache = result is not None
        if result is None or result.vocabulary_size != pair.vocabulary_size:
            result, from_cache = compute_pair_ks(pair, progress=progress), False
            try:
                save_ks_result(result, path)
            except KSLotteryError as problem:
                cache_problem = str(problem)
        shelf.put(key, result)
    return Comparison(choice, pair, result, key, from_cache, cache_problem)


@st.cache_resource(max_entries=64, show_spinner=False)
def _select(key: str, alpha: AlphaChoice, _comparison: Comparison) -> SelectedTicket:
    from kslottery_core.tickets import compute_ticket_curve, compute_ticket_mask, select_ticket

    rule = {"correction": alpha.correction, "p_value_method": alpha.p_value_method}
    result, pair = _comparison.result, _comparison.pair
    if alpha.top_k is not None:
        return _select_top(_comparison, alpha.top_k, compute_ticket_curve(result, **rule))
    return SelectedTicket(
        ticket=select_ticket(result, alpha.significance_level, tokens=pair.tokens, **rule),
        winners=compute_ticket_mask(result, alpha.significance_level, **rule),
        curve=compute_ticket_curve(result, **rule),
    )


def _select_top(comparison: Comparison, top_k: int, curve: TicketCurve) -> SelectedTicket:
    """As many tokens as there are where more are asked for: an address may come from a pair with more of them."""
    import numpy as np

    from kslottery_core.tickets import select_top_k_ticket

    result = comparison.result
    ticket = select_top_k_ticket(result, min(top_k, result.vocabulary_size), tokens=comparison.pair.tokens)
    if ticket.size < top_k:
        ticket = replace(ticket, note=f"Only {ticket.size:,} of the {top_k:,} tokens asked for have a D above 0.")
    winners = np.zeros(result.vocabulary_size, dtype=bool)
    winners[list(ticket.token_ids)] = True
    return SelectedTicket(ticket, winners, curve)


def load_selection(comparison: Comparison, alpha: AlphaChoice) -> SelectedTicket:
    """The ticket that the rule gives, its mask over the vocabulary and the curve over all alpha."""
    return _select(comparison.key, alpha, comparison)


@st.cache_resource(max_entries=4, show_spinner=False)
def _build_token_table(key: str, _comparison: Comparison) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    from kslottery_core.checkpoints.token_strings import TOKEN_SCRIPTS, find_scripts

    result, pair = _comparison.result, _comparison.pair
    scripts = pd.Categorical(find_scripts(pair.tokens, pair.token_kinds), categories=TOKEN_SCRIPTS)
    table = pd.DataFrame(
        {
            "token_id": np.arange(result.vocabulary_size),
            "token": list(pair.tokens),
            "casefolded": [token.casefold() for token in pair.tokens],
            "kind": pd.Categorical(pair.token_kinds),
            "script": scripts.remove_unused_categories(),
            "statistic": result.statistics,
            "count": result.counts,
            "p_value": result.p_values,
            "l2_shift": result.l2_shift,
            "cosine": result.cosine,
            "mean_shift": result.mean_shift,
            "changed": result.changed,
        }
    )
    # Equal D is broken as in the top-k rule: larger L2 shift first, then the smaller id.
    return table.sort_values(["count", "l2_shift", "token_id"], ascending=[False, False, True], ignore_index=True)


def load_token_table(comparison: Comparison) -> pd.DataFrame:
    """Every token, one row each, sorted by D. Shared between sessions: copy before writing into it."""
    return _build_token_table(comparison.key, comparison)


@st.cache_resource(max_entries=256, show_spinner=False)
def _read_rows(key: str, token_id: int, _pair: EmbeddingPair) -> tuple[np.ndarray, np.ndarray]:
    before, after = (side.read_token_rows([token_id])[0].double().numpy() for side in (_pair.before, _pair.after))
    return before, after


def load_token_rows(comparison: Comparison, token_id: int) -> tuple[np.ndarray, np.ndarray]:
    """The row of one token before and after, float64 (d,) each. Raises KSLotteryError."""
    return _read_rows(comparison.key, token_id, comparison.pair)


def load_cdf_gap(comparison: Comparison, token_id: int) -> CDFGap:
    """The exact steps of both distribution functions of one token. Raises KSLotteryError."""
    from kslottery_core.ks import compute_cdf_gap

    return compute_cdf_gap(*load_token_rows(comparison, token_id))


@st.cache_resource(max_entries=16, show_spinner=False)
def _count_parameters(signature: str, _matrix: EmbeddingMatrix) -> int | None:
    from kslottery_core.checkpoints import count_parameters

    return count_parameters(_matrix)


def load_parameter_count(matrix: EmbeddingMatrix) -> int | None:
    """All parameters of the model that the matrix belongs to, read from its files' headers; None when not known."""
    return _count_parameters(matrix.file_signature, matrix)


def load_run_store() -> RunStore:
    """The person's runs, with the demo's finished ones beside them to look at."""
    from kslottery_core.runs import RunStore

    return RunStore(extra_roots=[DEMO_PATH / "runs"])


def load_demo_runs() -> tuple[RunRecord, ...]:
    """The finished runs that come with the demo, newest first; none without a demo."""
    from kslottery_core.runs import RunStore

    return RunStore(DEMO_PATH / "runs").list()


@st.cache_resource(max_entries=32, show_spinner=False)
def _read_outputs(run_id: str, signature: str, _record: RunRecord) -> tuple[Output, ...]:
    from kslottery_core.evaluation import Output
    from kslottery_core.records import read_record

    return tuple(read_record(Output, line, f"{run_id}: an output") for line in _record.read_outputs())


def load_outputs(record: RunRecord) -> tuple[Output, ...]:
    """What a run's model wrote for each test sentence; empty when the run did not get that far.

    Raises KSLotteryError for a line that is no output.
    """
    try:
        stat = (record.folder / "outputs.jsonl").stat()
    except OSError:
        return ()
    return _read_outputs(record.run_id, f"{record.folder} {stat.st_mtime_ns} {stat.st_size}", record)
