"""What the demo brings along for its first view is what comparing its files gives, and holds for those files alone."""

import shutil

import numpy as np
import pytest

from kslottery_core.checkpoints import open_pair
from kslottery_core.checkpoints.architecture import load_architecture, read_architecture
from kslottery_core.demo import DEMO_PATH
from kslottery_core.demo.first_view import FOLDER, load_first_result
from kslottery_core.ks import compute_pair_ks


@pytest.fixture
def copy(tmp_path):
    for name in ("before", "after", FOLDER):
        shutil.copytree(DEMO_PATH / name, tmp_path / name)
    return tmp_path


def test_the_shipped_result_is_the_computed_one():
    shipped = load_first_result()
    computed = compute_pair_ks(open_pair(DEMO_PATH / "before", DEMO_PATH / "after"), "cpu")
    for name in ("counts", "changed", "l2_shift", "cosine", "mean_shift", "spread_ratio"):
        assert np.array_equal(getattr(shipped, name), getattr(computed, name), equal_nan=True), name
    assert shipped.width == computed.width
    assert shipped.fingerprint_before == computed.fingerprint_before
    assert shipped.fingerprint_after == computed.fingerprint_after


def test_the_shipped_description_is_what_transformers_says(tmp_path):
    for side in ("before", "after"):
        config_file = DEMO_PATH / side / "config.json"
        assert load_architecture(config_file, [tmp_path, DEMO_PATH / FOLDER]) == read_architecture(config_file)
        assert not list(tmp_path.iterdir())  # it was found: nothing had to be asked and kept


def test_a_copied_demo_has_its_result_and_a_changed_one_has_none(copy):
    assert load_first_result(copy) is not None
    weights = copy / "after" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.chmod(0o600)
    weights.write_bytes(content)
    assert load_first_result(copy) is None


def test_a_folder_without_a_demo_has_no_result(tmp_path):
    assert load_first_result(tmp_path) is None
