import os
from dataclasses import replace

import numpy as np
import pytest

from dashboard import loaders
from dashboard.loaders import AlphaChoice, PairChoice
from kslottery_core.demo import DEMO_PATH
from kslottery_core.errors import CheckpointError


@pytest.fixture
def choice(pair_folder):
    return PairChoice(str(pair_folder / "before"), str(pair_folder / "after"))


def test_a_pair_seen_before_is_not_compared_again(choice, monkeypatch):
    import kslottery_core.ks

    first = loaders.load_comparison(choice)
    assert not first.from_cache
    loaders.st.cache_resource.clear()  # as after a restart: only the disk remembers
    monkeypatch.setattr(kslottery_core.ks, "compute_pair_ks", None)
    again = loaders.load_comparison(choice)
    assert again.from_cache
    assert np.array_equal(first.result.counts, again.result.counts)
    assert again.result.fingerprint_before == first.result.fingerprint_before


def test_a_changed_file_is_compared_anew(choice, pair_folder):
    before = loaders.load_comparison(choice)
    file = pair_folder / "after" / "model.safetensors"
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    after = loaders.load_comparison(choice)
    assert after.key != before.key
    assert not after.from_cache


def test_a_torn_cached_result_is_computed_anew(choice):
    first = loaders.load_comparison(choice)
    path = loaders.get_cached_result_path(first.key)
    path.write_bytes(b"half a file")
    loaders.st.cache_resource.clear()
    again = loaders.load_comparison(choice)
    assert not again.from_cache
    assert np.array_equal(first.result.counts, again.result.counts)


def test_progress_is_told_only_when_rows_are_compared(choice):
    events = []
    loaders.load_comparison(choice, events.append)
    assert events[-1].step == events[-1].total == 64
    told = len(events)
    loaders.load_comparison(choice, events.append)
    assert len(events) == told


def test_a_pair_that_cannot_be_opened_says_why(pair_folder):
    with pytest.raises(CheckpointError):
        loaders.load_comparison(PairChoice(str(pair_folder / "before"), str(pair_folder / "nowhere")))


def test_the_token_table_has_every_token_once_sorted_by_d(choice):
    comparison = loaders.load_comparison(choice)
    table = loaders.load_token_table(comparison)
    assert sorted(table["token_id"]) == list(range(64))
    assert (np.diff(table["statistic"]) <= 0).all()


def test_the_selection_follows_alpha(choice):
    comparison = loaders.load_comparison(choice)
    few = loaders.load_selection(comparison, AlphaChoice(1e-6))
    many = loaders.load_selection(comparison, AlphaChoice(0.9))
    assert few.ticket.size < many.ticket.size == many.winners.sum()
    assert many.ticket.fingerprint_after == comparison.result.fingerprint_after


def test_all_parameters_are_counted_from_the_files(choice):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(choice.before)
    comparison = loaders.load_comparison(choice)
    assert loaders.load_parameter_count(comparison.pair.before) == sum(p.numel() for p in model.parameters())


def test_a_lone_file_has_no_known_model_size(pair_folder, tmp_path):
    from safetensors.torch import save_file

    from kslottery_core.checkpoints import open_embedding, open_pair

    rows = open_pair(pair_folder / "before", pair_folder / "after").before.read_rows(0, 8)
    save_file({"rows": rows.contiguous()}, tmp_path / "rows.safetensors")
    assert loaders.load_parameter_count(open_embedding(tmp_path / "rows.safetensors")) is None


def test_the_demo_stands_in_where_nothing_is_chosen(tmp_path, monkeypatch):
    assert loaders.resolve_choice(PairChoice()) is None
    for name in ("before", "after"):
        (tmp_path / "demo" / name).mkdir(parents=True)
    (tmp_path / "demo" / "train.en-ca.jsonl").touch()
    monkeypatch.setattr(loaders, "DEMO_PATH", tmp_path / "demo")
    resolved = loaders.resolve_choice(PairChoice())
    assert loaders.is_demo(resolved)
    assert loaders.resolve_choice(PairChoice(before="/only/one")) is None
    assert loaders.find_demo_text("train") == tmp_path / "demo" / "train.en-ca.jsonl"
    assert loaders.find_demo_text("test") is None


def test_another_matrix_of_the_demo_is_compared_itself(monkeypatch):
    from safetensors.numpy import load_file

    monkeypatch.setattr(loaders, "DEMO_PATH", DEMO_PATH)
    demo = loaders.resolve_choice(PairChoice())
    assert loaders.load_comparison(demo).from_cache, "the demo's own result comes with it"
    chosen = replace(demo, parameter="lm_head.weight")
    comparison = loaders.load_comparison(chosen)
    before, after = (load_file(f"{side}/model.safetensors")["lm_head.weight"] for side in (demo.before, demo.after))
    assert comparison.result.changed_count == (before != after).any(axis=1).sum()
    assert not comparison.from_cache


@pytest.mark.parametrize(
    "changes", [{"parameter": "lm_head.weight"}, {"before_revision": "a"}, {"after_revision": "a"}]
)
def test_the_demo_with_a_parameter_or_a_revision_is_not_called_the_demo(monkeypatch, changes):
    monkeypatch.setattr(loaders, "DEMO_PATH", DEMO_PATH)
    demo = loaders.resolve_choice(PairChoice())
    assert loaders.is_demo(demo)
    assert not loaders.is_demo(replace(demo, **changes))
