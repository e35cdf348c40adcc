"""Tuned tickets: a few rows over a base that they name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kslottery_core.checkpoints import load_model, open_embedding
from kslottery_core.errors import CheckpointError


def save_ticket_folder(folder: Path, base: str, token_ids: list[int], rows: torch.Tensor) -> Path:
    folder.mkdir()
    (folder / "ticket.json").write_text("{}")
    (folder / "base.json").write_text(json.dumps({"source": base, "revision": None}))
    save_file({"token_ids": torch.tensor(token_ids), "rows": rows}, folder / "rows.safetensors")
    return folder


def test_tuned_ticket_opens_as_its_base_with_rows_replaced(tiny_llama_folder: Path, tmp_path: Path) -> None:
    rows = torch.randn(2, 16)
    folder = save_ticket_folder(tmp_path / "tuned", str(tiny_llama_folder), [7, 2], rows)
    matrix, base = open_embedding(folder), open_embedding(tiny_llama_folder)
    assert (matrix.kind, matrix.tied, matrix.token_strings) == ("ticket", False, base.token_strings)
    expected = base.read_rows(0, 64).clone()
    expected[[7, 2]] = rows
    assert torch.equal(matrix.read_rows(0, 64), expected)
    assert matrix.fingerprint != base.fingerprint
    model, tokenizer = load_model(folder)
    assert torch.equal(model.get_input_embeddings().weight, expected)
    assert tokenizer.pad_token == "</s>"


def test_ticket_rows_are_cast_to_the_base_type(make_tiny_llama: Callable[..., Any], tmp_path: Path) -> None:
    make_tiny_llama().bfloat16().save_pretrained(tmp_path / "base")
    rows = torch.randn(1, 16)
    matrix = open_embedding(save_ticket_folder(tmp_path / "tuned", str(tmp_path / "base"), [2], rows))
    assert matrix.dtype == "bfloat16"
    assert torch.equal(matrix.read_rows(2, 3), rows.bfloat16())


def test_ticket_on_a_tied_base_moves_input_rows_alone(tiny_tied_llama_folder: Path, tmp_path: Path) -> None:
    rows = torch.randn(1, 16)
    folder = save_ticket_folder(tmp_path / "tuned", str(tiny_tied_llama_folder), [2], rows)
    assert (open_embedding(tiny_tied_llama_folder).tied, open_embedding(folder).tied) == (True, False)
    model, tokenizer = load_model(folder)
    base, _ = load_model(tiny_tied_llama_folder)
    assert torch.equal(model.get_input_embeddings().weight[2:3], rows)
    assert torch.equal(model.get_output_embeddings().weight, base.get_input_embeddings().weight)
    tokenizer.save_pretrained(folder)
    assert load_model(folder)[1].eos_token == "</s>"


def test_ticket_on_a_base_that_cannot_tell_stays_unknown(tmp_path: Path) -> None:
    save_file({"rows": torch.randn(4, 16)}, tmp_path / "base.safetensors")
    folder = save_ticket_folder(tmp_path / "tuned", str(tmp_path / "base.safetensors"), [2], torch.randn(1, 16))
    assert open_embedding(folder).tied is None


def test_ticket_of_another_model_is_told(tiny_llama_folder: Path, tmp_path: Path) -> None:
    for name, ids, rows in (("a", [2], torch.zeros(1, 8)), ("b", [64], torch.zeros(1, 16))):
        folder = save_ticket_folder(tmp_path / name, str(tiny_llama_folder), ids, rows)
        for open_it in (open_embedding, load_model):
            with pytest.raises(CheckpointError, match="belongs to another base model"):
                open_it(folder)


def test_broken_ticket_folder_is_told(tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = save_ticket_folder(tmp_path / "tuned", "/gone", [2], torch.zeros(1, 16))
    for open_it in (open_embedding, load_model):
        with pytest.raises(CheckpointError, match="its base model '/gone' cannot be opened"):
            open_it(folder)
    (folder / "base.json").write_text("[]")
    with pytest.raises(CheckpointError, match="found \\[\\]"):
        open_embedding(folder)
    (folder / "base.json").write_text(json.dumps({"source": str(folder)}))
    for open_it in (open_embedding, load_model):
        with pytest.raises(CheckpointError, match="leads back to itself"):
            open_it(folder)
    (folder / "base.json").write_text(json.dumps({"source": str(tiny_llama_folder)}))
    save_file({"rows": torch.zeros(1, 16)}, folder / "rows.safetensors")
    with pytest.raises(CheckpointError, match="expected the tensors token_ids and rows, found rows"):
        open_embedding(folder)
