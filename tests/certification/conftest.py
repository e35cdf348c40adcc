"""Pairs of tiny checkpoints and a text for the certification room."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kslottery_core.certification import CertificationTask
from kslottery_core.corpora import CorpusSpec
from kslottery_core.tickets import Ticket, create_list_ticket

PAIRS = [
    ("the small cat", "the red house"),
    ("a green bird sings in the old garden", "green birds sing"),
    ("12 birds", "the house is red and the garden is green"),
    ("red house and garden 12", "a small garden"),
    ("the cat sees the bird", "the cat sees the bird"),
    ("old", "a bird"),
]
PROMPT = "{source}:"


@pytest.fixture(scope="session")
def tiny_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pairs as JSON lines, en and ca."""
    path = tmp_path_factory.mktemp("text") / "test.jsonl"
    path.write_text("".join(json.dumps({"en": one, "ca": other}) + "\n" for one, other in PAIRS))
    return path


@pytest.fixture
def make_task(tiny_text: Path) -> Callable[..., CertificationTask]:
    """A task on the tiny text; keyword arguments replace its fields, `ids` the ticket's."""

    def make(before: Path, after: Path, ids: Any = (), **changes: Any) -> CertificationTask:
        ticket: Ticket = create_list_ticket(tuple(ids), 64)
        fields = {
            "corpus": CorpusSpec(str(tiny_text)),
            "prompt": PROMPT,
            "significance_levels": (),
            "max_new_tokens": 8,
            "device": "cpu",
        }
        return CertificationTask(str(before), str(after), **({"ticket": ticket} | fields | changes))

    return make


@pytest.fixture
def make_pair(
    tmp_path: Path, make_tiny_llama: Callable[..., Any], save_tiny_model: Callable[..., Path]
) -> Callable[..., tuple[Path, Path]]:
    """Two folders of one confident tiny Llama; `change(rows)` gives the after side's rows (V, d) from the before's."""

    def make(change: Callable[[Any], Any], prepare: Callable[[Any], None] | None = None, **options: Any) -> Any:
        import torch

        model = make_tiny_llama(seed=3, **options)
        with torch.no_grad():
            model.get_output_embeddings().weight *= 60  # a random head is unsure of everything
            if prepare is not None:
                prepare(model)
            before = save_tiny_model(model, tmp_path / "before")
            weight = model.get_input_embeddings().weight
            weight.copy_(change(weight.clone()))
        return before, save_tiny_model(model, tmp_path / "after")

    return make
