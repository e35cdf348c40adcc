"""Tiny checkpoints that the tests of several rooms share; nothing here touches the network."""

import os

# Before any import of huggingface_hub, which reads these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Before torch starts its threads: where several test processes share the cores, threads that wait for each other take
# more of them than those that compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TINY_WIDTH = 16
TINY_VOCABULARY = 64
CORPUS = [
    "the small cat sees a red house\n",
    "a green bird sings in the old garden\n",
    "the house is red and the garden is green, 12 birds sing.\n",
    "Translate the following sentence from English to Catalan.\nEnglish: the cat\nCatalan:",
]

UNCOUNTED = ("browser", "dashboard")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the pages run of the core is no test of the core; counting its lines there would double their time."""
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] in UNCOUNTED:
            item.add_marker(pytest.mark.no_cover)


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test waits for a device that work of a person's own home holds."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("KSLOTTERY_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """A SentencePiece-style BPE tokenizer of 64 tokens: <unk>, <s>, </s> are ids 0, 1, 2."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(
        vocab_size=TINY_VOCABULARY, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", model_max_length=256
    )


@pytest.fixture(scope="session")
def make_tiny_llama() -> Callable[..., Any]:
    """Build a randomly initialised Llama (d = 16, 2 layers); keyword arguments override the config."""

    def make(*, seed: int = 0, **overrides: Any) -> Any:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(seed)
        settings = {
            "vocab_size": TINY_VOCABULARY,
            "hidden_size": TINY_WIDTH,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "tie_word_embeddings": False,
        }
        return LlamaForCausalLM(LlamaConfig(**{**settings, **overrides})).eval()

    return make


@pytest.fixture(scope="session")
def save_tiny_model(tiny_tokenizer: Any) -> Callable[..., Path]:
    """Save a model with the tiny tokenizer; keyword arguments go to save_pretrained."""

    def save(model: Any, folder: Path, **options: Any) -> Path:
        model.save_pretrained(folder, **options)
        tiny_tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def tiny_llama_folder(
    tmp_path_factory: pytest.TempPathFactory,
    make_tiny_llama: Callable[..., Any],
    save_tiny_model: Callable[..., Path],
) -> Path:
    """A Llama folder: V = 64, d = 16, untied, float32, with tokenizer. Shared: copy it before changing a file."""
    return save_tiny_model(make_tiny_llama(), tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_tied_llama_folder(
    tmp_path_factory: pytest.TempPathFactory,
    make_tiny_llama: Callable[..., Any],
    save_tiny_model: Callable[..., Path],
) -> Path:
    """As `tiny_llama_folder`, with input and output embedding tied."""
    model = make_tiny_llama(tie_word_embeddings=True)
    return save_tiny_model(model, tmp_path_factory.mktemp("models") / "tiny-tied-llama")


@pytest.fixture(scope="session")
def tiny_tuned_llama_folder(
    tmp_path_factory: pytest.TempPathFactory,
    make_tiny_llama: Callable[..., Any],
    save_tiny_model: Callable[..., Path],
) -> Path:
    """`tiny_llama_folder` with rows 3, 5 and 8 of its input embedding moved far (+1 in every coordinate)."""
    import torch

    model = make_tiny_llama()
    with torch.no_grad():
        model.get_input_embeddings().weight[[3, 5, 8]] += 1.0
    return save_tiny_model(model, tmp_path_factory.mktemp("models") / "tiny-tuned-llama")
