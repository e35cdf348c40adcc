"""GGUF files written with the package gguf: plain and quantised rows, tokens, damage."""

import struct
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from kslottery_core.checkpoints import open_embedding, open_pair
from kslottery_core.errors import CheckpointError

TOKENS = ["<unk>", "<s>", "</s>", "<0x0A>", "▁the", "cat", "[PAD6]", "."]
KINDS = [2, 3, 3, 6, 1, 1, 5, 1]


def write_gguf(
    path: Path,
    rows: np.ndarray,
    kind: gguf.GGMLQuantizationType | None = None,
    *,
    head: bool = False,
    tokens: bool = True,
    name: str = "token_embd.weight",
) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    if tokens:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(TOKENS)
        writer.add_token_types(KINDS)
        writer.add_bos_token_id(1)
        writer.add_bool("a.flag", True)
        writer.add_float64("a.number", 0.5)
    for tensor in (name, *(["output.weight"] if head else [])):
        if kind is None:
            writer.add_tensor(tensor, rows)
        else:
            writer.add_tensor(tensor, gguf.quants.quantize(rows, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_plain_rows_come_as_stored(tmp_path: Path, rows: np.ndarray, dtype: type) -> None:
    write_gguf(tmp_path / "m.gguf", rows.astype(dtype))
    matrix = open_embedding(tmp_path / "m.gguf")
    assert (matrix.kind, matrix.shape, matrix.dtype, matrix.tied) == ("gguf", (8, 64), np.dtype(dtype).name, True)
    assert np.array_equal(matrix.read_rows(2, 5).numpy(), rows[2:5].astype(dtype))
    assert matrix.read_rows(2, 2).shape == (0, 64)
    assert matrix.notes == ()


def test_bfloat16_rows_come_as_stored(tmp_path: Path, rows: np.ndarray) -> None:
    write_gguf(tmp_path / "m.gguf", rows, gguf.GGMLQuantizationType.BF16)
    matrix = open_embedding(tmp_path / "m.gguf")
    assert matrix.dtype == "bfloat16"
    assert torch.equal(matrix.read_rows(0, 8), torch.from_numpy(rows).bfloat16())


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q8_0"])
def test_quantised_rows_come_as_the_package_dequantises_them(tmp_path: Path, rows: np.ndarray, name: str) -> None:
    kind = gguf.GGMLQuantizationType[name]
    write_gguf(tmp_path / "m.gguf", rows, kind)
    matrix = open_embedding(tmp_path)
    expected = gguf.quants.dequantize(gguf.quants.quantize(rows, kind), kind)
    assert (matrix.dtype, matrix.read_rows(0, 8).dtype) == (name, torch.float32)
    assert np.array_equal(matrix.read_rows(0, 8).numpy(), expected)
    assert np.array_equal(matrix.read_token_rows([6, 1]).numpy(), expected[[6, 1]])
    assert matrix.read_rows(3, 3).shape == (0, 64)
    assert name in matrix.notes[0]
    assert len(matrix.fingerprint) == 64


def test_header_agrees_with_the_package_reader(tmp_path: Path, rows: np.ndarray) -> None:
    from kslottery_core.checkpoints.gguf_file import read_gguf_header

    write_gguf(tmp_path / "m.gguf", rows, gguf.GGMLQuantizationType.Q8_0, head=True)
    header = read_gguf_header(tmp_path / "m.gguf")
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    assert {name: tensor.offset for name, tensor in header.tensors.items()} == {
        tensor.name: tensor.data_offset for tensor in reader.tensors
    }
    assert header.metadata["a.flag"] is True
    assert header.metadata["a.number"] == 0.5


def test_separate_head_is_untied(tmp_path: Path, rows: np.ndarray) -> None:
    write_gguf(tmp_path / "m.gguf", rows, head=True)
    assert open_embedding(tmp_path).tied is False
    assert open_embedding(tmp_path, parameter="output.weight").tied is None


def test_tokens_come_from_the_metadata(tmp_path: Path, rows: np.ndarray) -> None:
    write_gguf(tmp_path / "m.gguf", rows)
    pair = open_pair(tmp_path, tmp_path)
    assert pair.tokens == ("<unk>", "<s>", "</s>", "<0x0A> ↵", "␣the", "cat", "<unused 6>", ".")
    assert pair.token_kinds == ("special", "special", "special", "byte", "word", "word", "unused", "punctuation")


def test_file_without_tokens_shows_ids(tmp_path: Path, rows: np.ndarray) -> None:
    write_gguf(tmp_path / "m.gguf", rows, tokens=False)
    pair = open_pair(tmp_path, tmp_path)
    assert pair.tokens[3] == "<row 3>"
    assert any("no tokenizer" in note for note in pair.notes)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.6, 0.99])
def test_truncated_file_is_told(tmp_path: Path, rows: np.ndarray, share: float) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, rows)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="truncated"):
        open_embedding(path)


@pytest.mark.parametrize("start", [b"GGUX", b"GGUF" + struct.pack("<I", 9)])
def test_other_content_is_told(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(start + bytes(100))
    with pytest.raises(CheckpointError, match="expected a complete GGUF file"):
        open_embedding(tmp_path)


def write_damaged_header(
    path: Path, *, values: Sequence[tuple[str, bytes]] = (), tensors: Sequence[bytes] = ()
) -> None:
    def text(content: str) -> bytes:
        return struct.pack("<Q", len(content)) + content.encode()

    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    body = b"".join(text(key) + value for key, value in values)
    body += b"".join(text(EMBEDDING) + tensor for tensor in tensors)
    path.write_bytes(header + body + bytes(4096))


UINT32, ARRAY, F32, Q4_0 = 4, 9, 0, 2
EMBEDDING = "token_embd.weight"


def test_tensor_without_dimensions_is_told(tmp_path: Path) -> None:
    write_damaged_header(tmp_path / "m.gguf", tensors=[struct.pack("<IIQ", 0, F32, 0)])
    with pytest.raises(CheckpointError, match=r"'token_embd\.weight', found one without dimensions"):
        open_embedding(tmp_path)


@pytest.mark.parametrize("sizes", [(0, 8), (64, 0)])
def test_tensor_without_rows_or_coordinates_is_told(tmp_path: Path, sizes: tuple[int, int]) -> None:
    write_damaged_header(tmp_path / "m.gguf", tensors=[struct.pack("<IQQIQ", 2, *sizes, F32, 0)])
    with pytest.raises(CheckpointError, match="expected an embedding matrix of floats"):
        open_embedding(tmp_path)


def test_width_that_its_quantisation_cannot_have_is_told(tmp_path: Path) -> None:
    write_damaged_header(tmp_path / "m.gguf", tensors=[struct.pack("<IQQIQ", 2, 40, 8, Q4_0, 0)])
    with pytest.raises(CheckpointError, match="makes no sense"):
        open_embedding(tmp_path)


@pytest.mark.parametrize(
    "alignment",
    [
        struct.pack("<II", UINT32, 0),
        struct.pack("<Ii", 5, -32),
        struct.pack("<If", 6, 0.5),
        struct.pack("<IIQ", ARRAY, UINT32, 0),
    ],
)
def test_impossible_alignment_is_told(tmp_path: Path, alignment: bytes) -> None:
    write_damaged_header(tmp_path / "m.gguf", values=[("general.alignment", alignment)])
    with pytest.raises(CheckpointError, match=r"expected a positive number of bytes as general\.alignment"):
        open_embedding(tmp_path)


def test_arrays_nested_without_end_are_told(tmp_path: Path) -> None:
    nested = struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 20_000
    write_damaged_header(tmp_path / "m.gguf", values=[("deep", nested)])
    with pytest.raises(CheckpointError, match="makes no sense"):
        open_embedding(tmp_path)


def test_arrays_may_hold_arrays(tmp_path: Path) -> None:
    from kslottery_core.checkpoints.gguf_file import read_gguf_header

    nested = struct.pack("<IIQ", ARRAY, ARRAY, 2) + struct.pack("<IQII", UINT32, 2, 7, 8) * 2
    write_damaged_header(tmp_path / "m.gguf", values=[("deep", nested)])
    assert read_gguf_header(tmp_path / "m.gguf").metadata["deep"] == ((7, 8), (7, 8))


def test_tokens_that_are_no_texts_show_ids(tmp_path: Path) -> None:
    numbers = struct.pack("<IIQII", ARRAY, UINT32, 2, 7, 8)
    write_damaged_header(
        tmp_path / "m.gguf",
        values=[("tokenizer.ggml.tokens", numbers)],
        tensors=[struct.pack("<IQQIQ", 2, 4, 2, F32, 0)],
    )
    assert open_embedding(tmp_path).token_strings is None


def test_file_that_shrinks_or_goes_is_told(tmp_path: Path, rows: np.ndarray) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, rows)
    matrix = open_embedding(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="shorter"):
        matrix.read_rows(0, 8)
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        matrix.read_rows(0, 8)
    with pytest.raises(CheckpointError, match="cannot be read"):
        _ = matrix.token_strings


def test_missing_embedding_is_told(tmp_path: Path, rows: np.ndarray) -> None:
    write_gguf(tmp_path / "m.gguf", rows, name="blk.0.attn_q.weight")
    with pytest.raises(CheckpointError, match=r"'token_embd\.weight'.*blk\.0\.attn_q\.weight.*--parameter"):
        open_embedding(tmp_path)
    assert open_embedding(tmp_path, parameter="blk.0.attn_q.weight").shape == (8, 64)


@pytest.mark.parametrize("tensor", [np.zeros(64, np.float32), np.zeros((8, 64), np.int8)])
def test_tensor_that_is_no_matrix_of_floats_is_told(tmp_path: Path, tensor: np.ndarray) -> None:
    write_gguf(tmp_path / "m.gguf", tensor)
    with pytest.raises(CheckpointError, match="expected an embedding matrix of floats"):
        open_embedding(tmp_path)


def test_quantisation_that_nobody_dequantises_is_told(
    tmp_path: Path, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gguf(tmp_path / "m.gguf", rows, gguf.GGMLQuantizationType.Q8_0)
    monkeypatch.setattr("gguf.quants._type_traits", {})
    with pytest.raises(CheckpointError, match="cannot dequantise Q8_0"):
        open_embedding(tmp_path)
