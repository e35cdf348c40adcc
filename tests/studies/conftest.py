"""Studies whose runs are worked on by threads of the test, with fake tuning and true scores."""

import dataclasses
import json
import shutil
import threading
import time
from collections import Counter
from types import SimpleNamespace

import pytest

from kslottery_core.corpora import CorpusSpec
from kslottery_core.errors import TuningError
from kslottery_core.evaluation import EXTRACTIONS, Output, Score
from kslottery_core.progress import ProgressEvent
from kslottery_core.runs.worker import work
from kslottery_core.studies import (
    RowRule,
    StudyArm,
    StudySpec,
    StudyStore,
    StudyText,
    conduct,
    queue_study,
)
from kslottery_core.tuning.settings import TuningSettings

TRAIN = [("the cat", "el gat vell"), ("the red house", "la casa vella"), ("a bird sings", "un ocell canta")]
TEST = [
    ("the small cat sees", "el gat petit veu una casa"),
    ("the house is red", "la casa és vermella i gran"),
    ("a green bird", "un ocell verd canta al jardí"),
    ("the old garden", "el jardí vell de la casa"),
    ("twelve birds sing", "dotze ocells canten molt bé"),
]


@dataclasses.dataclass(frozen=True)
class FakeReport:
    trained_parameters: int
    seconds: float = 0.5
    copied_parameters: int = 0
    total_parameters: int = 1000
    steps: int = 3
    peak_memory_bytes: int | None = 2048
    stopped: bool = False
    saved_bytes: int = 7
    optimizer_bytes: int | None = 64
    step_seconds: float | None = 0.25
    untied_head: bool = False
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class FakeEvaluation:
    outputs: tuple[Output, ...]
    scores: tuple[Score, ...]
    stopped_share: float = 1.0
    seconds: float = 0.25
    notes: tuple[str, ...] = ()
    complete: bool = True


def score_truly(outputs, corpus, decoding):
    """BLEU by sacrebleu itself, under both rules of extraction."""
    from sacrebleu.metrics.bleu import BLEU

    scores = []
    for name, extract in EXTRACTIONS.items():
        metric = BLEU()
        value = metric.corpus_score([extract(o.text) for o in outputs], [[o.reference for o in outputs]]).score
        signature = str(metric.get_signature())
        scores.append(Score("BLEU", name, value, signature, decoding, "prompt", corpus.fingerprint, len(outputs)))
    return tuple(scores)


class FakeWorkers:
    """Works on every started run in a thread. `started` counts methods; `fail` and `hold` hold methods."""

    def __init__(self, tuned_folder):
        self.tuned_folder = tuned_folder
        self.started = Counter()
        self.attempts = []
        self.fail = set()
        self.hold = set()
        self.threads = []

    def start(self, record, command=None):
        self.started[record.spec.method] += 1
        self.attempts.append((record.spec.name, record.status.attempt))
        thread = threading.Thread(target=work, args=(record.folder,), kwargs=self.make_parts(record.spec), daemon=True)
        self.threads.append(thread)
        thread.start()
        return record

    def make_parts(self, spec):
        return {"tune": self.tune, "evaluate": lambda *given, **options: self.evaluate(spec, *given, **options)}

    def tune(self, task, folder, *, on_progress, should_stop, on_loaded=None, resume=False):
        if task.method in self.fail:
            raise TuningError("it went wrong; do something.")
        on_progress(ProgressEvent("tune", 1, 3, loss=1.0, learning_rate=0.1))
        stopped = should_stop()
        while task.method in self.hold and not stopped:
            time.sleep(0.01)
            stopped = should_stop()
        if task.method == "embedding":
            shutil.copytree(self.tuned_folder, folder / "model", dirs_exist_ok=True)
        trained = {"base": 0, "transfer": 0, "full": 900, "embedding": 500, "ticket": 16, "lora": 100}[task.method]
        return SimpleNamespace(model=None, tokenizer=None, report=FakeReport(trained, stopped=stopped))

    def evaluate(self, spec, model, tokenizer, corpus, texts, prompt, settings, *, on_progress, should_stop):
        # The larger the seed, the fewer sentences are right, and never all of them.
        wrong = 1 + (spec.tuning.seed % 3) + (spec.method == "base")
        outputs = []
        for number, pair in enumerate(corpus.pairs):
            text = pair.target if number >= wrong else f"{pair.target.split()[0]} res"
            outputs.append(Output(pair.source, pair.target, f"{text}\nI encara més.", True, 3))
        return FakeEvaluation(tuple(outputs), score_truly(outputs, corpus, "greedy"))


@pytest.fixture
def study_store(tmp_path):
    return StudyStore(tmp_path / "home" / "studies")


@pytest.fixture
def workers(monkeypatch, tiny_tuned_llama_folder):
    """Runs that a study starts are worked on by threads of this process."""
    import sys

    module = sys.modules["kslottery_core.studies.conduct"]
    made = FakeWorkers(tiny_tuned_llama_folder)
    monkeypatch.setattr(module, "start_worker", made.start)
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.01)
    yield made
    made.hold.clear()
    for thread in made.threads:
        thread.join(timeout=20)


@pytest.fixture
def make_study(tmp_path, tiny_llama_folder):
    """A study of the tiny model: an untuned arm, embedding tuning and the rows that won; arguments replace fields."""
    for name, pairs in (("train", TRAIN), ("test", TEST)):
        lines = [json.dumps({"translation": {"en": en, "ca": ca, "es": ca}}) for en, ca in pairs]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def make(**changes):
        fields = {
            "name": "a study",
            "model": str(tiny_llama_folder),
            "arms": (
                StudyArm("base", "base"),
                StudyArm("embedding", "embedding"),
                StudyArm("KS rows", "ticket", RowRule("ks", significance_level=0.05)),
            ),
            "texts": (make_text(),),
            "seeds": (3,),
            "steps": (3,),
            "tuning": TuningSettings(batch_size=2),
            "prompt": "{source} :",
            "device": "cpu",
        }
        return StudySpec(**{**fields, **changes})

    def make_text(target="ca"):
        return StudyText(*(CorpusSpec(str(tmp_path / f"{name}.jsonl"), "en", target) for name in ("train", "test")))

    make.text = make_text
    return make


@pytest.fixture
def perform(study_store, workers):
    """Create a study (or go on with one of an id) and conduct it to its end; returns its record."""

    def do(spec_or_id):
        study_id = spec_or_id if isinstance(spec_or_id, str) else study_store.create(spec_or_id).study_id
        conduct(queue_study(study_store, study_id).folder)
        return study_store.get(study_id)

    return do
