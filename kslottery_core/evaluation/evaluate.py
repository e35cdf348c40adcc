"""Generate for a whole test set, extract, score."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kslottery_core.corpora import Corpus, CorpusSpec, fill_prompt, hash_prompt
from kslottery_core.evaluation.generate import EvaluationSettings, generate_outputs
from kslottery_core.evaluation.score import EXTRACTIONS, Score, compute_scores
from kslottery_core.progress import OnProgress, ProgressEvent, ShouldStop, ignore_progress, never_stop

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Output:
    """What the model wrote for one test sentence; `stopped` is False when it ran into the length limit."""

    source: str
    reference: str
    text: str
    stopped: bool
    tokens: int


@dataclass(frozen=True)
class Evaluation:
    """Scores and outputs of one model on one test set. An evaluation that was stopped has no scores."""

    scores: tuple[Score, ...]
    outputs: tuple[Output, ...]
    stopped_share: float | None
    seconds: float
    complete: bool
    notes: tuple[str, ...] = ()


def describe_decoding(settings: EvaluationSettings, number_format: str) -> str:
    """The part of a signature that says how outputs were made; `number_format` is that of the model's weights."""
    search = "greedy" if settings.beams == 1 else f"beam {settings.beams}"
    return f"{search}, at most {settings.max_new_tokens} new tokens, {number_format}"


def describe_number_format(model: "PreTrainedModel") -> str:
    """The format of the model's weights, such as "bfloat16", and of its linear layers where they were quantised."""
    number_format = str(model.dtype).removeprefix("torch.")
    for bits in (4, 8):
        if getattr(model, f"is_loaded_in_{bits}bit", False):
            return f"{number_format}, linear layers in {bits} bits"
    return number_format


def fill_prompts(corpus: Corpus, spec: CorpusSpec, prompt: str) -> list[str]:
    """The prompt of every source sentence. Raises CorpusError for a template that cannot be filled."""
    return [_fill(prompt, spec, pair.source) for pair in corpus.pairs]


def _fill(prompt: str, spec: CorpusSpec, source: str) -> str:
    return fill_prompt(prompt, source=source, source_language=spec.source, target_language=spec.target)


def evaluate(
    model: "PreTrainedModel",
    tokenizer: Any,
    corpus: Corpus,
    spec: CorpusSpec,
    prompt: str,
    settings: EvaluationSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    should_stop: ShouldStop = never_stop,
) -> Evaluation:
    """Translate every source of `corpus` and score it against its one reference. Raises EvaluationError."""
    settings = settings or EvaluationSettings()
    started = time.perf_counter()
    prompts = fill_prompts(corpus, spec, prompt)
    on_progress(ProgressEvent("generate", 0, len(prompts)))
    generated = generate_outputs(model, tokenizer, prompts, settings, on_progress=on_progress, should_stop=should_stop)
    outputs = tuple(
        Output(pair.source, pair.target, generation.text, generation.stopped, generation.tokens)
        for pair, generation in zip(corpus.pairs, generated, strict=True)
        if generation is not None
    )
    if len(outputs) < len(prompts):
        note = f"Stopped after {len(outputs)} of {len(prompts)} sentences; a part of a test set is not scored."
        return Evaluation((), outputs, None, time.perf_counter() - started, complete=False, notes=(note,))
    on_progress(ProgressEvent("score", 0, 1))
    scores, notes = compute_scores(
        {name: [extract(output.text) for output in outputs] for name, extract in EXTRACTIONS.items()},
        [output.reference for output in outputs],
        decoding=describe_decoding(settings, describe_number_format(model)),
        # With the languages filled in: one template asks for different things in different languages.
        prompt_hash=hash_prompt(_fill(prompt, spec, "{source}")),
        test_set_hash=corpus.fingerprint,
    )
    on_progress(ProgressEvent("score", 1, 1))
    return Evaluation(
        scores=scores,
        outputs=outputs,
        stopped_share=sum(output.stopped for output in outputs) / len(outputs),
        seconds=time.perf_counter() - started,
        complete=True,
        notes=notes,
    )
