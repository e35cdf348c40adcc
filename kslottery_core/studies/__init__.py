"""Studies: a grid of runs on one fair bench, and one table of what came of it.

A study's folder is the truth. `study.json` (`StudySpec`) is written once; `status.json` and `cells.json` say where it
stands and which run each cell of the grid is; a file named `stop` asks it to stop; `log.txt` is what it said. The runs
lie in the ordinary store beside it, so that a later study finds those that it would otherwise do again. `ks/` and
`intervals/` keep what is computed from finished runs.
"""

from kslottery_core.studies.cells import StudyCell, list_cells
from kslottery_core.studies.checks import check_study
from kslottery_core.studies.comparison import PairedComparison, compute_comparisons
from kslottery_core.studies.conduct import conduct
from kslottery_core.studies.csv_text import format_study_csv
from kslottery_core.studies.identity import identify_run
from kslottery_core.studies.quality import Measure, Quality
from kslottery_core.studies.record import CELL_STATES, CellState, StudyRecord, load_study
from kslottery_core.studies.spec import ROW_METHODS, ROW_RULES, RowRule, StudyArm, StudySpec, StudyText
from kslottery_core.studies.start import check_startable, queue_study, start_study, stop_study
from kslottery_core.studies.status import STUDY_STATES, StudyStatus
from kslottery_core.studies.store import StudyStore
from kslottery_core.studies.table import COSTS, StudyRow, StudyTable, compute_study_table, find_pareto
from kslottery_core.studies.ticket_sizes import TicketSizePoint, compute_ticket_sizes

__all__ = [
    "CELL_STATES",
    "COSTS",
    "ROW_METHODS",
    "ROW_RULES",
    "STUDY_STATES",
    "CellState",
    "Measure",
    "PairedComparison",
    "Quality",
    "RowRule",
    "StudyArm",
    "StudyCell",
    "StudyRecord",
    "StudyRow",
    "StudySpec",
    "StudyStatus",
    "StudyStore",
    "StudyTable",
    "StudyText",
    "TicketSizePoint",
    "check_startable",
    "check_study",
    "compute_comparisons",
    "compute_study_table",
    "compute_ticket_sizes",
    "conduct",
    "find_pareto",
    "format_study_csv",
    "identify_run",
    "list_cells",
    "load_study",
    "queue_study",
    "start_study",
    "stop_study",
]
