"""Synthetic pairs of any size: real rows where rows are read, a header over an empty file where only counts are."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import numpy as np

PARAMETER = "model.embed_tokens.weight"
_DEVIATION = 0.02
# The mean D of the rows that moved, in units of sqrt(2 / d): a few of many rows then win, whatever V and d are.
_MEAN_STATISTIC = 0.3
_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class PairFolders:
    """Both sides on disk, V rows of width d in bfloat16."""

    before: Path
    after: Path
    rows: int
    width: int

    def describe(self) -> str:
        """`V = 128,000, d = 1,024`."""
        return f"V = {self.rows:,}, d = {self.width:,}"

    def build_query(self, **more: object) -> str:
        """The part of an address that opens the pair."""
        return urlencode({"before": self.before, "after": self.after, **more})


def make_pair(folder: Path, rows: int, width: int, seed: int = 0) -> PairFolders:
    """Two models whose rows are normal; half of the after rows are shifted, few of them far."""
    import torch
    from safetensors.torch import save_file

    drawn = torch.Generator().manual_seed(seed)
    before = torch.empty(rows, width, dtype=torch.bfloat16)
    for start in range(0, rows, _BLOCK_ROWS):
        block = torch.randn(min(_BLOCK_ROWS, rows - start), width, generator=drawn)
        before[start : start + _BLOCK_ROWS] = (block * _DEVIATION).to(torch.bfloat16)
    # A normal distribution that is moved by a small part x of its deviation has D = 0.4 x.
    mean_shift = _DEVIATION * _find_mean_statistic(width) / 0.4
    shifts = torch.empty(rows, 1).exponential_(1 / mean_shift, generator=drawn)
    shifts[torch.randperm(rows, generator=drawn)[: rows // 2]] = 0
    pair = _make_folders(folder, rows, width)
    save_file({PARAMETER: before}, pair.before / "model.safetensors", metadata={"format": "pt"})
    for start in range(0, rows, _BLOCK_ROWS):
        block = before[start : start + _BLOCK_ROWS]
        block.copy_((block.float() + shifts[start : start + _BLOCK_ROWS]).to(torch.bfloat16))
    save_file({PARAMETER: before}, pair.after / "model.safetensors", metadata={"format": "pt"})
    return pair


def make_compared_pair(folder: Path, rows: int, width: int, seed: int = 0) -> PairFolders:
    """A pair whose files hold a header and no row (they take no room on disk), with a made-up result in the cache.

    For what shows counts alone, at sizes whose rows would not fit. The cache is that of `KSLOTTERY_HOME`.
    """
    from dashboard.loaders import compute_comparison_key, get_cached_result_path
    from kslottery_core.checkpoints import open_pair
    from kslottery_core.ks import save_ks_result

    pair = _make_folders(folder, rows, width)
    for side in (pair.before, pair.after):
        size = rows * width * 2
        tensor = {"dtype": "BF16", "shape": [rows, width], "data_offsets": [0, size]}
        header = json.dumps({"__metadata__": {"format": "pt"}, PARAMETER: tensor}).encode()
        header += b" " * (-len(header) % 8)
        with (side / "model.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(8 + len(header) + size)
    key = compute_comparison_key(open_pair(pair.before, pair.after))
    save_ks_result(_draw_result(rows, width, seed), get_cached_result_path(key))
    return pair


def _draw_result(rows: int, width: int, seed: int) -> object:
    from kslottery_core.ks import KSResult

    drawn = np.random.default_rng(seed)
    shift = np.where(drawn.random(rows) < 0.5, 0.0, drawn.exponential(_find_mean_statistic(width), rows))
    counts = np.minimum(width, (width * shift).astype(np.int64))
    return KSResult(
        counts=counts,
        width=width,
        changed=shift > 0,
        l2_shift=shift * np.sqrt(width),
        cosine=np.clip(1 - shift * drawn.random(rows), -1, 1),
        mean_shift=shift * drawn.choice([-1, 1], rows),
        spread_ratio=1 + shift * drawn.normal(size=rows),
        device="cpu",
        seconds=None,
        fingerprint_before=None,
        fingerprint_after=None,
        notes=("This result is made up, for measuring the pages.",),
    )


def _find_mean_statistic(width: int) -> float:
    return _MEAN_STATISTIC * (2 / width) ** 0.5


def _make_folders(folder: Path, rows: int, width: int) -> PairFolders:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<unk>", *(f"▁{kind}{number}" for number in range(rows // 3 + 1) for kind in ("word", "слово", ""))]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words[:rows])}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": rows,
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": 1,
        "num_attention_heads": 8,
        "tie_word_embeddings": False,
    }
    pair = PairFolders(folder / "before", folder / "after", rows, width)
    for side in (pair.before, pair.after):
        side.mkdir(parents=True)
        (side / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (side / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}', encoding="utf-8")
        tokenizer.save(str(side / "tokenizer.json"), pretty=False)
    return pair
