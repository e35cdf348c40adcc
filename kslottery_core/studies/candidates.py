"""Which run of the store already is, or can become, what a study's cell asks for."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from kslottery_core.errors import KSLotteryError
from kslottery_core.jobs import resolve_device
from kslottery_core.runs import RunRecord, RunSpec, RunStore, check_resumable
from kslottery_core.studies.identity import FileFingerprints, identify_run
from kslottery_core.studies.pair_results import locate_tuned_model
from kslottery_core.studies.spec import StudySpec


@dataclass(frozen=True)
class FoundRun:
    """A run with the identity that was asked for; `own` when it was made for this study's cell."""

    record: RunRecord
    own: bool


class CandidateRuns:
    """Looks through the store, and remembers what identifies a run.

    `since` (unix seconds) is when the study was made, `list_claimed` gives the runs that studies have noted as theirs.
    """

    def __init__(
        self, store: RunStore, study: StudySpec, since: float, list_claimed: Callable[[], set[str]] = set
    ) -> None:
        self._store, self._since, self._list_claimed = store, since, list_claimed
        self._device = resolve_device(study.device)
        self._identities: dict[tuple[str, str | None], str] = {}
        self._fingerprints = FileFingerprints()

    def find(
        self, wanted: RunSpec, own_run_id: str | None, keeps_model: bool, passed_over: set[str]
    ) -> FoundRun | None:
        """The best candidate: a finished run, else the cell's own one, else a live one; None when there is none.

        An own run may also have ended early, to be gone on with. With `keeps_model` a finished run must still hold the
        whole model that it made. A finished run that read other files than lie there now is none.
        """
        identity = identify_run(wanted, self._device)
        claimed = self._list_claimed()
        found = []
        for record in self._store.list():
            if record.spec is None or record.run_id in passed_over or record.read_only:
                continue
            # Who was killed between making a run and noting its id finds it again by its name.
            lost = record.spec.name == wanted.name and record.status.created >= self._since
            lost = lost and own_run_id is None and record.run_id not in claimed
            own = record.run_id == own_run_id or lost
            if self._identify(record) == identity and self._is_usable(record, own, keeps_model):
                found.append(FoundRun(record, own))
        return min(
            found,
            key=lambda run: (run.record.status.state != "finished", not run.own, not run.record.status.live),
            default=None,
        )

    def _identify(self, record: RunRecord) -> str:
        device = record.status.device
        key = (record.run_id, device)
        if key not in self._identities:
            assert record.spec is not None
            self._identities[key] = identify_run(record.spec, device or self._resolve(record.spec))
        return self._identities[key]

    def _resolve(self, spec: RunSpec) -> str:
        return self._device if spec.device == "auto" else spec.device

    def _is_usable(self, record: RunRecord, own: bool, keeps_model: bool) -> bool:
        if record.status.live:
            return True
        if record.status.state == "finished":
            scored = bool(record.problem is None and record.result and record.result.get("scores"))
            # A study runs in one process; several see another effective batch under the same settings.
            scored = scored and _count_processes(record) == 1
            model_there = not keeps_model or locate_tuned_model(record).is_dir()
            return scored and model_there and self._fingerprints.match(record)
        if not own:
            return False
        with contextlib.suppress(KSLotteryError):
            check_resumable(record)
            return True
        return False


def _count_processes(record: RunRecord) -> int:
    cost = (record.result or {}).get("cost") or {}
    return cost.get("processes") or 1
