"""From a run's spec to the task that is tuned: its texts are read, its prompt is chosen."""

from typing import TYPE_CHECKING

from kslottery_core.runs.result import RunOutcome
from kslottery_core.runs.spec import RunSpec

if TYPE_CHECKING:
    from kslottery_core.corpora import Corpus
    from kslottery_core.tuning import TuningTask


def load_corpora(spec: RunSpec, outcome: RunOutcome) -> None:
    """Read training and test text into `outcome`, with what must be said of them. Raises CorpusError."""
    from kslottery_core.corpora import find_leaks, load_corpus

    outcome.train = None if spec.train is None else load_corpus(spec.train)
    outcome.test = None if spec.test is None else load_corpus(spec.test)
    if outcome.train is not None and outcome.test is not None:
        outcome.leaks = find_leaks(outcome.train, outcome.test)
        outcome.notes += outcome.leaks.describe()
    for name, corpus in (("training", outcome.train), ("test", outcome.test)):
        if corpus is not None and corpus.prompt is not None:
            outcome.notes.append(
                f"The {name} text brings its own prompt template, which was used instead of the run's."
            )


def choose_prompt(corpus: "Corpus | None", spec: RunSpec) -> str:
    """Instruction data brings its own template."""
    return spec.prompt if corpus is None or corpus.prompt is None else corpus.prompt


def build_task(spec: RunSpec, outcome: RunOutcome, device: str) -> "TuningTask":
    """The tuning that a run asks for, on the device that it got. Raises TuningError."""
    from kslottery_core.tuning import TuningTask

    return TuningTask(
        spec.method,
        spec.model,
        revision=spec.revision,
        ticket=spec.ticket,
        after=spec.after,
        after_revision=spec.after_revision,
        corpus=outcome.train,
        languages=spec.train,
        prompt=choose_prompt(outcome.train, spec),
        settings=spec.tuning,
        device=device,
        output=spec.output,
    )
