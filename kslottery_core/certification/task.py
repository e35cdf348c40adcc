"""What is to be certified, checked as far as possible without reading files."""

from dataclasses import dataclass, replace
from pathlib import Path

from kslottery_core.corpora import CorpusSpec, check_prompt
from kslottery_core.errors import CertificationError
from kslottery_core.tickets import Ticket

SIGNIFICANCE_LEVELS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3),
    *(0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999),
)
"""The grid of alpha when none is given."""

MOST_LEFT_BEHIND = 16
"""No more than this many left-behind tokens can be tried in every combination: 65,536 passes of one sequence."""


@dataclass(frozen=True)
class CertificationTask:
    """The partial model that has AFTER's rows on a ticket and BEFORE's elsewhere, compared with AFTER on a text.

    `before` and `after` are sources that `kslottery_core.checkpoints` opens; `ticket` may come from any rule and may be
    empty. `significance_levels` (0 < alpha < 1, ascending) are certified beside it. `prompt` None means the template
    that comes with the text, or the default one. `max_new_tokens` is the longest greedy output, `batch_size` the most
    sequences in one pass. `larger_ticket_limit` N: where an input leaves at most N tokens behind, every larger ticket
    is run, up to 2^N passes of a sequence; 0 leaves this level out. Raises CertificationError or CorpusError.
    """

    before: str
    after: str
    ticket: Ticket
    corpus: CorpusSpec
    prompt: str | None = None
    significance_levels: tuple[float, ...] = SIGNIFICANCE_LEVELS
    max_new_tokens: int = 64
    batch_size: int = 32
    device: str = "auto"
    before_revision: str | None = None
    after_revision: str | None = None
    larger_ticket_limit: int = 0

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise CertificationError(
                    f"{name}: expected a whole number of at least 1, found {getattr(self, name)!r}."
                )
        if self.larger_ticket_limit not in range(MOST_LEFT_BEHIND + 1):
            raise CertificationError(
                "larger_ticket_limit: expected a whole number of left-behind tokens from 0 (off) to "
                f"{MOST_LEFT_BEHIND}, each of which doubles the passes, found {self.larger_ticket_limit!r}."
            )
        wrong = [level for level in self.significance_levels if not 0 < level < 1]
        if wrong:
            raise CertificationError(f"alphas: expected numbers in 0 < alpha < 1, found {wrong[0]!r}.")
        if list(self.significance_levels) != sorted(set(self.significance_levels)):
            raise CertificationError(
                f"alphas: expected distinct numbers in ascending order, found "
                f"{', '.join(f'{level:g}' for level in self.significance_levels)}."
            )
        if self.prompt is not None:
            check_prompt(self.prompt)


def resolve_paths(task: CertificationTask) -> CertificationTask:
    """The same task with local checkpoints and texts named by absolute paths, because its certificate may be read from
    another folder. Hub ids stay."""
    return replace(
        task,
        before=_resolve(task.before),
        after=_resolve(task.after),
        corpus=replace(task.corpus, path=_resolve(task.corpus.path)),
    )


def _resolve(source: str) -> str:
    path = Path(source.strip()).expanduser()
    # Links are kept: the hub's cache links files to blobs whose names no longer tell the format.
    return str(path.absolute()) if path.exists() else source
