"""Whether model, method and texts of a run go together: asked of the model's layers and tokenizer, without weights."""

from typing import TYPE_CHECKING, Any

from kslottery_core.corpora import Corpus
from kslottery_core.errors import TuningError
from kslottery_core.tuning.settings import ADAPTER_METHODS, TuningSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from kslottery_core.runs.spec import RunSpec


def check_model_inputs(spec: "RunSpec", train: Corpus | None, test: Corpus | None) -> None:
    """Refuse what would end a run between loading its model and the first step of its training.

    `train` and `test` are the run's texts or their beginnings. A model on the hub is not asked: what it cannot take is
    told when it has been loaded. Raises KSLotteryError.
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
        prompt = train.prompt or spec.prompt
        examples = encode_examples(
            tokenizer, train.pairs, spec.train, prompt, spec.tuning.max_length, lines=train.lines
        )
        virtual_tokens = spec.tuning.prefix.virtual_tokens if spec.method == "prefix" else 0
        check_examples_fit(examples, positions, virtual_tokens)
    if test is not None and spec.test is not None:
        check_prompts_fit(model, tokenizer, fill_prompts(test, spec.test, test.prompt or spec.prompt), spec.evaluation)


def _check_length(settings: TuningSettings, positions: int | None) -> None:
    # The default is nobody's choice; whether the text fits into a smaller model is seen from the text.
    if positions is not None and settings.max_length > max(positions, TuningSettings.max_length):
        raise TuningError(
            f"max_length: expected at most {positions:,}, the positions of this model, found {settings.max_length:,}; "
            "lower it."
        )


def _check_adapter(spec: "RunSpec", model: "PreTrainedModel") -> Any:
    """Raises TuningError when the model cannot take the adapter; returns it with its prefix, if it has one now."""
    if spec.method == "lora":
        from kslottery_core.tuning.lora import check_lora_fits

        check_lora_fits(model, spec.tuning.lora)
        return model
    from kslottery_core.tuning.prefix import check_prefix_fits

    return check_prefix_fits(model, spec.tuning.prefix)
