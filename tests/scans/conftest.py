"""A pair of tiny checkpoints that differ in every matrix of their layers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture
def tuned(make_tiny_llama: Callable[..., Any], tiny_llama_folder: Path, tmp_path: Path) -> Path:
    """The tiny model with noise on every matrix of its MLPs and attention, embeddings untouched."""
    model = make_tiny_llama()
    torch.manual_seed(11)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if ".layers." in name and value.ndim == 2:
                value.add_(torch.randn_like(value) * value.std())
    model.save_pretrained(tmp_path / "tuned")
    return tmp_path / "tuned"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of its own: no test waits for the device that another one holds."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("KSLOTTERY_HOME", str(folder))
    return folder
