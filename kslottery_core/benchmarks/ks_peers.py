"""The same two-sample KS test as others offer it, each called as its documentation shows."""

import importlib.util
import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

AXIS_ROWS = 1000
"""Rows that SciPy is handed at once with `axis`: it holds several copies of them."""


def loop_over_scipy(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`ks_2samp` row by row with its defaults. Returns D and p, (V,) each; p is NaN where SciPy left the exact one."""
    from scipy.stats import ks_2samp

    statistics, p_values = np.empty(len(before)), np.empty(len(before))
    gave_up: list[int] = []
    row = 0
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *_args, **_kwargs: gave_up.append(row)
        for row in range(len(before)):
            found = ks_2samp(before[row], after[row])
            statistics[row], p_values[row] = found.statistic, found.pvalue
    p_values[gave_up] = np.nan
    return statistics, p_values


def call_scipy_with_axis(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, None]:
    """`ks_2samp` on blocks of rows with `axis=1` and asymptotic p. Returns D (V,)."""
    from scipy.stats import ks_2samp

    blocks = range(0, len(before), AXIS_ROWS)
    found = [
        ks_2samp(before[at : at + AXIS_ROWS], after[at : at + AXIS_ROWS], axis=1, method="asymp").statistic
        for at in blocks
    ]
    return np.concatenate(found), None


def has_alibi_detect() -> bool:
    """Whether alibi-detect is installed."""
    return importlib.util.find_spec("alibi_detect") is not None


def call_alibi_detect(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`KSDrift` with a token as a feature and its coordinates as instances. Returns D and p, (V,) each."""
    from alibi_detect.cd import KSDrift  # type: ignore[import-not-found]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector = KSDrift(np.ascontiguousarray(before.T), p_val=0.05)
        p_values, statistics = detector.feature_score(detector.x_ref, np.ascontiguousarray(after.T))
    return statistics, p_values


def sort_with_torch(before: "torch.Tensor", after: "torch.Tensor") -> None:
    """Sort both sides and nothing more: what any method that sorts with torch needs at least."""
    before.sort(dim=1)
    after.sort(dim=1)
