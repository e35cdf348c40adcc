"""The process of a study whose runs are the fake ones of `tests/runs`: `fake_study.py STEP_SECONDS FOLDER`."""

import sys
from pathlib import Path

from kslottery_core.studies import conduct

FAKE_WORK = Path(__file__).resolve().parents[1] / "runs" / "fake_work.py"

if __name__ == "__main__":
    conduct(sys.argv[2], command=[sys.executable, str(FAKE_WORK), "well", sys.argv[1]])
