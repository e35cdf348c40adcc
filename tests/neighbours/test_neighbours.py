from dataclasses import dataclass

import numpy as np
import pytest
import torch

from kslottery_core.errors import KSInputError
from kslottery_core.neighbours import compute_cosines, compute_neighbours, search


@dataclass
class Rows:
    """Rows of a tensor (V, d) that notes how many were asked for at a time."""

    tensor: torch.Tensor
    largest: int = 0
    readings: int = 0

    @property
    def shape(self):
        return tuple(self.tensor.shape)

    def read_rows(self, start, stop):
        self.largest = max(self.largest, stop - start)
        self.readings += 1
        return self.tensor[start:stop].clone()


def list_by_hand(tensor, token_id, count):
    """The definition, written out in float64: every cosine, sorted by cosine and then by id."""
    rows = tensor.double().numpy()
    lengths = np.sqrt((rows**2).sum(axis=1))
    pairs = []
    for other in range(len(rows)):
        if other != token_id and lengths[other] > 0 and lengths[token_id] > 0:
            cosine = (rows[other] * rows[token_id]).sum() / lengths[other] / lengths[token_id]
            pairs.append((-cosine, other))
    pairs.sort()
    return [other for _, other in pairs[:count]], [-cosine for cosine, _ in pairs[:count]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize(("rows", "width"), [(50, 8), (700, 33), (300, 512)])
def test_neighbours_are_those_of_float64_written_out(dtype, rows, width, monkeypatch):
    monkeypatch.setattr(search, "READ_BYTES", 4 * width * 37)  # several blocks, the last one smaller
    monkeypatch.setattr(search, "_INNER_BYTES", 4 * width * 10)
    torch.manual_seed(rows)
    matrix = torch.randn(rows, width, dtype=torch.float64).to(dtype)
    wanted = (0, 7, rows - 1, 7)
    for token_id, found in zip(wanted, compute_neighbours(Rows(matrix), wanted), strict=True):
        ids, cosines = list_by_hand(matrix, token_id, 10)
        assert found.token_id == token_id
        assert found.token_ids.tolist() == ids
        assert np.abs(found.cosines - cosines).max() < 1e-12


def test_cosines_that_float32_cannot_tell_apart_are_ranked_by_float64():
    torch.manual_seed(1)
    base = torch.randn(64, dtype=torch.float64)
    side = torch.randn(64, dtype=torch.float64)
    steps = torch.randperm(200).double()[:, None]  # the nearest is the one that leans least to the side
    matrix = torch.cat([base[None], base + 1e-4 * side * (1 + 1e-5 * steps)])
    (found,) = compute_neighbours(Rows(matrix), [0], count=20)
    assert found.token_ids.tolist() == (1 + np.argsort(steps[:, 0].numpy())[:20]).tolist()
    assert found.token_ids.tolist() == list_by_hand(matrix, 0, 20)[0]


@pytest.mark.parametrize("width", [5, 64, 1000, 4099, 9001])
def test_equal_rows_are_ordered_by_their_id(width):
    torch.manual_seed(width)
    row, other = torch.randn(2, width)
    matrix = torch.randn(40, width)
    same = [3, 4, 9, 17, 18, 19, 33, 39]
    matrix[same] = row
    matrix[[5, 21]] = 2 * row  # a power of two leaves the direction as it is, bit for bit
    matrix[12] = row + 0.05 * other
    (found,) = compute_neighbours(Rows(matrix), [17], count=10)
    assert found.token_ids.tolist() == [3, 4, 5, 9, 18, 19, 21, 33, 39, 12]
    assert len(set(found.cosines[:9].tolist())) == 1
    (others,) = compute_neighbours(Rows(matrix), [12], count=4)
    assert others.token_ids.tolist() == [3, 4, 5, 9]


def test_rows_without_direction_are_left_out_and_have_no_neighbours():
    torch.manual_seed(2)
    matrix = torch.randn(12, 6)
    matrix[[2, 5]] = 0.0
    matrix[7, 3] = float("nan")
    matrix[8, 0] = float("inf")
    ordinary, zero = compute_neighbours(Rows(matrix), [0, 5], count=50)
    clean = [other for other in range(1, 12) if other not in (2, 5, 7, 8)]
    assert sorted(ordinary.token_ids.tolist()) == clean
    assert (zero.token_id, len(zero.token_ids), len(zero.cosines)) == (5, 0, 0)


def test_fewer_rows_than_asked_for_are_all_given():
    matrix = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]])
    (found,) = compute_neighbours(Rows(matrix), [0], count=10)
    assert found.token_ids.tolist() == [2, 1, 3]
    assert found.cosines == pytest.approx([np.sqrt(0.5), 0.0, -1.0], abs=1e-15)
    (alone,) = compute_neighbours(Rows(matrix[:1]), [0])
    assert alone.token_ids.tolist() == []


@pytest.mark.parametrize("scale", [1e-23, 1e-36, 1e25, 1e37])
def test_rows_of_very_small_or_large_numbers_have_cosines(scale):
    torch.manual_seed(4)
    matrix = torch.randn(30, 16)
    scaled = matrix.clone()
    scaled[10:20] *= scale
    (plain,), (found,) = (compute_neighbours(Rows(rows), [0]) for rows in (matrix, scaled))
    assert found.token_ids.tolist() == plain.token_ids.tolist()
    assert found.cosines == pytest.approx(plain.cosines, abs=1e-6)


def test_the_matrix_is_read_once_in_blocks_for_all_tokens(monkeypatch):
    monkeypatch.setattr(search, "READ_BYTES", 4 * 32 * 100)
    torch.manual_seed(5)
    source = Rows(torch.randn(1000, 32))
    events = []
    compute_neighbours(source, list(range(0, 50, 10)), count=3, progress=events.append)
    assert source.largest == 100
    assert source.readings <= 10 + 5 + 5 * 30  # the pass, the tokens' own rows, and the rows that are ranked
    assert [(event.step, event.total) for event in events] == [(step, 1000) for step in range(100, 1001, 100)]


def test_what_progress_raises_ends_the_work():
    class StoppedError(Exception):
        pass

    def stop(event):
        raise StoppedError

    with pytest.raises(StoppedError):
        compute_neighbours(Rows(torch.randn(5, 4)), [1], progress=stop)


@pytest.mark.parametrize(("token_ids", "count", "words"), [([5], 1, "from 0 to 4, found 5"), ([-1], 1, "found -1")])
def test_a_token_beyond_the_matrix_is_one_sentence(token_ids, count, words):
    with pytest.raises(KSInputError, match=words):
        compute_neighbours(Rows(torch.randn(5, 4)), token_ids, count)


def test_no_neighbour_asked_for_is_one_sentence_and_no_token_is_nothing():
    with pytest.raises(KSInputError, match="at least 1, found 0"):
        compute_neighbours(Rows(torch.randn(5, 4)), [1], 0)
    assert compute_neighbours(Rows(torch.randn(5, 4)), []) == ()


def test_cosines_of_named_rows_are_those_of_the_search():
    torch.manual_seed(6)
    matrix = torch.randn(30, 12).to(torch.bfloat16)
    matrix[4] = 0.0
    (found,) = compute_neighbours(Rows(matrix), [2], count=5)
    assert compute_cosines(Rows(matrix), 2, found.token_ids.tolist()).tolist() == found.cosines.tolist()
    assert np.isnan(compute_cosines(Rows(matrix), 2, [4])).all()
    assert np.isnan(compute_cosines(Rows(matrix), 4, [1, 2])).all()
    assert compute_cosines(Rows(matrix), 2, []).shape == (0,)
