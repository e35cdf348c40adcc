"""Any matrix of two checkpoints, or all of them: one comparison per matrix, kept as lines of a file, resumable."""

from kslottery_core.scans.entry import (
    Scan,
    ScanEntry,
    ScanSpec,
    SkippedParameter,
    describe_parameter,
    scan_to_table,
)
from kslottery_core.scans.record import hold_folder, load_scan
from kslottery_core.scans.scan import scan_parameters

__all__ = [
    "Scan",
    "ScanEntry",
    "ScanSpec",
    "SkippedParameter",
    "describe_parameter",
    "hold_folder",
    "load_scan",
    "scan_parameters",
    "scan_to_table",
]
