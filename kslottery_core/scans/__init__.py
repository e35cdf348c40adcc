"""Any matrix of two checkpoints, or all of them: one comparison a matrix, kept as lines of a file, resumable."""

from kslottery_core.scans.entry import ScanEntry, SkippedParameter, describe_parameter
from kslottery_core.scans.folder_lock import hold_folder
from kslottery_core.scans.record import Scan, ScanSpec, load_scan
from kslottery_core.scans.scan import scan_parameters
from kslottery_core.scans.table import scan_to_table

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
