"""What makes a training the one it is: nobody may go on from a checkpoint that another one wrote."""

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kslottery_core.tuning.dataset import Examples
from kslottery_core.tuning.matrix import get_input_matrix
from kslottery_core.tuning.task import TuningTask

if TYPE_CHECKING:
    import torch

_CHUNK_ROWS = 4096


def describe_training(task: TuningTask, model: Any, examples: Examples, precision: str) -> dict[str, Any]:
    """A JSON object of everything that decides a training's numbers, with digests (SHA-256) of what is large.

    `model` is prepared for the method and not trained yet; of its values the input matrix stands for all.
    """
    settings = asdict(task.settings)
    del settings["checkpoint_steps"]  # the numbers do not depend on it
    if settings["quantization"] == "none":  # so that checkpoints from before there was any are still gone on from
        del settings["quantization"]
    described = {
        "method": task.method,
        "model": task.model,
        "revision": task.revision,
        **settings,
        "precision": precision,
        "prompt": task.prompt,
        "training text": None if task.corpus is None else task.corpus.fingerprint,
        "training examples": _digest([[item["input_ids"], item["labels"]] for item in examples.items]),
        "ticket": None if task.ticket is None else _digest(list(task.ticket.token_ids)),
        "input embeddings": digest_rows(get_input_matrix(model)),
        "trained parameters": {
            name: list(parameter.shape) for name, parameter in model.named_parameters() if parameter.requires_grad
        },
    }
    return json.loads(json.dumps(described))


def digest_rows(matrix: "torch.Tensor") -> str:
    """SHA-256 of a matrix's bytes, (V, d), row by row."""
    import torch

    digest = hashlib.sha256(f"{matrix.dtype} {tuple(matrix.shape)}".encode())
    for rows in matrix.detach().split(_CHUNK_ROWS):
        digest.update(rows.cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
