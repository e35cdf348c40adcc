"""Before a run starts to work: the checks of its spec, its texts, and the tuning task that they make."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kslottery_core.corpora import HUB_PREFIX, Corpus, CorpusSpec, check_prompt, load_corpus
from kslottery_core.errors import RunError, TuningError
from kslottery_core.runs.result import RunOutcome
from kslottery_core.runs.spec import TICKET_METHODS, RunSpec
from kslottery_core.tickets import check_ticket_fits
from kslottery_core.tuning.settings import ADAPTER_METHODS, TRAINED_METHODS, TuningSettings, check_method_settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from kslottery_core.tuning import TuningTask

LOOKED_AT_PAIRS = 1000


def check_spec(spec: RunSpec) -> None:
    """Check everything that can be known before a model is loaded. Raises `KSLotteryError` with one sentence."""
    _check_source("model", spec.model)
    if spec.revision is not None and Path(spec.model).expanduser().exists():
        raise RunError(
            f"revision: only a hub id has revisions, and {spec.model} is on this disk (revision {spec.revision!r}); "
            "leave the revision out."
        )
    _check_ticket(spec)
    check_method_settings(spec.method, spec.tuning, spec.output)
    _check_device(spec)
    if spec.method == "transfer" and spec.after is None:
        raise RunError("after: 'transfer' copies rows from an embedding-tuned model; say which one.")
    if spec.after is not None:
        if spec.method not in TICKET_METHODS:
            raise RunError(f"after: {spec.method!r} uses no second model, found {spec.after!r}; leave it out.")
        _check_source("after", spec.after)
    _check_corpora(spec)
    check_prompt(spec.prompt)


def check_inputs(spec: RunSpec) -> None:
    """Look into the files that a run will need, so that a wrong one is reported at once and not when its turn comes.

    Reads the first sentence pairs and, for models on this disk, the embedding's header, config and tokenizer: does the
    model support the method, do the texts fit into it? Raises `KSLotteryError`.
    """
    from kslottery_core.checkpoints import check_source

    check_spec(spec)
    check_source(spec.model, spec.revision)
    if spec.after is not None:
        check_source(spec.after, spec.after_revision)
    train, test = (None if corpus is None else _load_beginning(corpus) for corpus in (spec.train, spec.test))
    if spec.ticket is not None and Path(spec.model).expanduser().exists():
        from kslottery_core.checkpoints import open_embedding

        check_ticket_fits(spec.ticket, *open_embedding(spec.model).shape)
    _check_model(spec, train, test)


def _load_beginning(corpus: CorpusSpec) -> Corpus:
    return load_corpus(dataclasses.replace(corpus, limit=min(corpus.limit or LOOKED_AT_PAIRS, LOOKED_AT_PAIRS)))


def _check_device(spec: RunSpec) -> None:
    """Refuse what Apple's GPU cannot do here."""
    if spec.device != "mps":
        return
    if spec.tuning.precision == "bfloat16":
        raise RunError("precision: on Apple's GPU (mps) a run computes in float32, found 'bfloat16'; choose auto.")
    if spec.tuning.quantization != "none":
        raise RunError(
            f"quantization: {spec.tuning.quantization} is not possible on Apple's GPU (mps); leave it out, or choose "
            "another device."
        )


def _check_ticket(spec: RunSpec) -> None:
    if spec.method not in TICKET_METHODS:
        if spec.ticket is not None:
            raise RunError(
                f"ticket: {spec.method!r} uses no ticket, found one of {spec.ticket.size:,} tokens; leave it out "
                "or choose the method ticket."
            )
        return
    if spec.ticket is None:
        raise RunError(f"ticket: {spec.method!r} needs a ticket; select one first.")
    if spec.ticket.size == 0:
        raise RunError("ticket: expected at least one token, found an empty ticket; raise alpha or choose top-k.")


def _check_corpora(spec: RunSpec) -> None:
    if spec.method in TRAINED_METHODS and spec.train is None:
        raise RunError(f"train: {spec.method!r} learns from parallel text; say which training corpus to use.")
    if spec.method not in TRAINED_METHODS and spec.train is not None:
        raise RunError(f"train: {spec.method!r} trains nothing, found {spec.train.path}; leave it out.")
    if spec.method == "base" and spec.test is None:
        raise RunError("test: 'base' only scores the model as it is; say which test corpus to use.")
    for name, corpus in (("train", spec.train), ("test", spec.test)):
        if corpus is None or corpus.path.startswith(HUB_PREFIX):
            continue
        if not Path(corpus.path).expanduser().exists():
            raise RunError(f"{name}: expected a file of parallel text, found nothing at {corpus.path}; check the path.")


def _check_source(name: str, source: str) -> None:
    from kslottery_core.checkpoints import looks_like_hub_id

    if Path(source).expanduser().exists() or looks_like_hub_id(source):
        return
    raise RunError(f"{name}: expected a folder, a file or a hub id, found nothing at {source}; check the path.")


def _check_model(spec: RunSpec, train: Corpus | None, test: Corpus | None) -> None:
    """Refuse what would make a run fail between loading its model and the first training step.

    `train` and `test` are the run's texts or their beginnings. A model on the hub is not checked: what it cannot
    do is reported when it has been loaded. Raises KSLotteryError.
    """
    from kslottery_core.checkpoints import build_blueprint, load_tokenizer
    from kslottery_core.evaluation import check_prompts_fit, fill_prompts
    from kslottery_core.tuning.dataset import check_examples_fit, encode_examples

    model: Any = build_blueprint(spec.model, revision=spec.revision)
    if model is None:
        return
    positions = getattr(model.config, "max_position_embeddings", None)
    if train is not None:
        _check_length(spec.tuning, positions)
    if spec.method in ADAPTER_METHODS:
        model = _check_adapter(spec, model)
    tokenizer = load_tokenizer(spec.model, revision=spec.revision)
    if train is not None and spec.train is not None:
        prompt = choose_prompt(train, spec)
        examples = encode_examples(
            tokenizer, train.pairs, spec.train, prompt, spec.tuning.max_length, lines=train.lines
        )
        virtual_tokens = spec.tuning.prefix.virtual_tokens if spec.method == "prefix" else 0
        check_examples_fit(examples, positions, virtual_tokens)
    if test is not None and spec.test is not None:
        check_prompts_fit(model, tokenizer, fill_prompts(test, spec.test, choose_prompt(test, spec)), spec.evaluation)


def _check_length(settings: TuningSettings, positions: int | None) -> None:
    # Nobody chose the default; whether the text fits into a smaller model is checked with the text itself.
    if positions is not None and settings.max_length > max(positions, TuningSettings.max_length):
        raise TuningError(
            f"max_length: expected at most {positions:,}, the positions of this model, found {settings.max_length:,}; "
            "lower it."
        )


def _check_adapter(spec: RunSpec, model: "PreTrainedModel") -> Any:
    """Raises TuningError when the model does not support the adapter; returns it with its prefix, where it gets one."""
    if spec.method == "lora":
        from kslottery_core.tuning.lora import check_lora_fits

        check_lora_fits(model, spec.tuning.lora)
        return model
    from kslottery_core.tuning.prefix import check_prefix_fits

    return check_prefix_fits(model, spec.tuning.prefix)


def load_corpora(spec: RunSpec, outcome: RunOutcome) -> None:
    """Read the training and test texts into `outcome`, with notes about them. Raises CorpusError."""
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
    """The prompt of a text: its own template, as instruction data has one, or the run's."""
    return spec.prompt if corpus is None or corpus.prompt is None else corpus.prompt


def build_task(spec: RunSpec, outcome: RunOutcome, device: str) -> "TuningTask":
    """The tuning task of a run, on the device that it got. Raises TuningError."""
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
