"""Pure numerics: integer KS counts per row pair, p-values, shifts and CDF steps. Knows no files and no models."""

from kslottery_core.ks.cdf import CDFGap, compute_cdf_gap
from kslottery_core.ks.engine import RowSource, choose_device, compute_ks, compute_pair_ks, compute_several_ks
from kslottery_core.ks.p_values import (
    P_VALUE_METHODS,
    check_significance_level,
    compute_asymptotic_p_values,
    compute_least_detectable_count,
    compute_p_values,
    compute_tau,
    get_p_value_table,
)
from kslottery_core.ks.result import KSResult, format_level, format_statistic, load_ks_result, save_ks_result
from kslottery_core.ks.series import KSSeries, compute_series_ks, load_ks_series, save_ks_series

__all__ = [
    "P_VALUE_METHODS",
    "CDFGap",
    "KSResult",
    "KSSeries",
    "RowSource",
    "check_significance_level",
    "choose_device",
    "compute_asymptotic_p_values",
    "compute_cdf_gap",
    "compute_ks",
    "compute_least_detectable_count",
    "compute_p_values",
    "compute_pair_ks",
    "compute_series_ks",
    "compute_several_ks",
    "compute_tau",
    "format_level",
    "format_statistic",
    "get_p_value_table",
    "load_ks_result",
    "load_ks_series",
    "save_ks_result",
    "save_ks_series",
]
