"""The process of a study: `python -m kslottery_core.studies.process FOLDER` is what `start_study` starts."""

import faulthandler
import sys

from kslottery_core.errors import KSLotteryError
from kslottery_core.studies.conduct import conduct


def main(arguments: list[str]) -> int:
    """The command line of one study: 0 for finished or stopped, 1 for failed, 2 when it cannot even start."""
    faulthandler.enable()
    if len(arguments) != 1:
        print("usage: python -m kslottery_core.studies.process FOLDER", file=sys.stderr)
        return 2
    try:
        status = conduct(arguments[0])
    except KSLotteryError as problem:
        print(problem, file=sys.stderr)
        return 2
    return 1 if status.state == "failed" else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
