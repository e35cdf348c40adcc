"""Several checkpoints after one before: each checked like a pair, told apart by short labels, steps read from names."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kslottery_core.checkpoints import find_step, make_labels, open_pair, open_series
from kslottery_core.errors import CheckpointError


def test_a_series_opens_each_after_beside_one_before(tiny_llama_folder: Path, tiny_tuned_llama_folder: Path) -> None:
    series = open_series(tiny_llama_folder, [tiny_tuned_llama_folder, tiny_llama_folder])
    pair = open_pair(tiny_llama_folder, tiny_tuned_llama_folder)
    assert (series.width, series.vocabulary_size) == (16, 64)
    assert (series.tokens, series.token_kinds) == (pair.tokens, pair.token_kinds)
    assert [after.source for after in series.afters] == [str(tiny_tuned_llama_folder), str(tiny_llama_folder)]
    assert all(each.before is series.before for each in series.pairs)
    assert series.steps == (None, None)


def test_notes_of_all_come_once_and_notes_of_some_with_their_label(
    tiny_llama_folder: Path, tiny_tuned_llama_folder: Path
) -> None:
    series = open_series(tiny_llama_folder, [tiny_tuned_llama_folder, tiny_llama_folder])
    own = series.labels[1]
    assert series.notes == (
        "Compared the tensor model.embed_tokens.weight: 64 rows of 16 coordinates.",
        f"{own}: Before and after are the same files, so no row differs.",
    )


def test_the_rows_of_the_shortest_checkpoint_are_compared(
    tiny_llama_folder: Path, tmp_path: Path, make_tiny_llama: Any, save_tiny_model: Callable[..., Path]
) -> None:
    before = save_tiny_model(make_tiny_llama(vocab_size=80), tmp_path / "before")
    longer = save_tiny_model(make_tiny_llama(vocab_size=70), tmp_path / "longer")
    series = open_series(before, [longer, tiny_llama_folder])
    assert series.vocabulary_size == 64
    assert len(series.tokens) == len(series.token_kinds) == 64
    assert any("the 64 that all of them have are compared" in note for note in series.notes)


def test_an_after_of_another_width_or_tokenizer_is_named(
    tiny_llama_folder: Path, tiny_tuned_llama_folder: Path, tmp_path: Path, make_tiny_llama: Any
) -> None:
    make_tiny_llama(hidden_size=8).save_pretrained(tmp_path / "narrow")
    with pytest.raises(CheckpointError, match=r"^after number 2: .* found 16 in .* and 8 in .*narrow"):
        open_series(tiny_llama_folder, [tiny_tuned_llama_folder, tmp_path / "narrow"])
    other = Path(shutil.copytree(tiny_llama_folder, tmp_path / "other"))
    content = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(content.replace('"</s>"', '"<end>"'))
    with pytest.raises(CheckpointError, match=r"^after number 3: The tokenizers differ: token id 2 .*other"):
        open_series(tiny_llama_folder, [tiny_tuned_llama_folder, tiny_llama_folder, other])
    with pytest.raises(CheckpointError, match=r"^after number 1: .*nowhere/here"):
        open_series(tiny_llama_folder, ["nowhere/here/at-all", tiny_tuned_llama_folder])


def test_a_single_after_is_refused_in_the_words_of_a_pair(tiny_llama_folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^nowhere/here"):
        open_series(tiny_llama_folder, ["nowhere/here/at-all"])


def test_revisions_are_one_for_each_after(tiny_llama_folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"one revision for each of the 2 checkpoints .* found 1"):
        open_series(tiny_llama_folder, [tiny_llama_folder] * 2, after_revisions=["main"])
    with pytest.raises(CheckpointError, match="belongs to a hub id"):
        open_series(tiny_llama_folder, [tiny_llama_folder] * 2, after_revisions=[None, "main"])
    with pytest.raises(CheckpointError, match="at least one checkpoint"):
        open_series(tiny_llama_folder, [])


def test_revisions_of_one_hub_id_are_told_apart_by_label_and_step(
    tiny_llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def open_local(before: Any, after: Any, **options: Any) -> Any:
        asked.append((after, options["before_revision"], options["after_revision"]))
        return open_pair(before, tiny_llama_folder)

    monkeypatch.setattr("kslottery_core.checkpoints.pair.open_pair", open_local)
    series = open_series(
        tiny_llama_folder, ["org/name", "org/name"], before_revision=None, after_revisions=["step10", "step200"]
    )
    assert asked == [("org/name", None, "step10"), ("org/name", None, "step200")]
    assert (series.labels, series.steps) == (("name@step10", "name@step200"), (10, 200))


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("run/checkpoint-200", 200),
        ("run/checkpoint-200/", 200),
        ("seed1_step_100", 100),
        ("global_step300/mp_rank_00", 300),
        ("org/name@step1000", 1000),
        ("m-step_20.safetensors", 20),
        ("iter_0000200", 200),
        ("Step-7", 7),
        ("checkpoint-100/step_5", 5),
        ("runs/lr_5e-3_step_100/checkpoints/model", 100),
        ("r\\checkpoint-9\\model", 9),
        ("run/model", None),
        ("step_5e-3", None),
        ("step_2.5", None),
        ("checkpoint-20k", None),
        ("misstep_3", None),
        ("epoch3", None),
        ("2024-01-01", None),
        ("", None),
    ],
)
def test_steps_are_read_from_names_and_never_guessed(name: str, step: int | None) -> None:
    assert find_step(name) == step


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["/runs/a/checkpoints/model", "/runs/b/checkpoints/model"], ("a", "b")),
        (["r/c-1", "r/c-2", "r/c-2"], ("c-1", "c-2", "c-2 (2)")),
        (["x", "x"], ("x", "x (2)")),
        (["a/b", "a/b/"], ("b", "b (2)")),
        (["/a/b/m.safetensors"], ("m.safetensors",)),
        (["a", "a/b"], ("a", "b")),
        (["a/x/b", "a/y/b", "z"], ("x/b", "y/b", "z")),
        (["/far/seed1", "near/seed2"], ("seed1", "seed2")),
        (["m", "a/m"], ("m", "a/m")),
        (["/"], ("/",)),
    ],
)
def test_labels_are_the_part_of_a_name_that_differs(names: list[str], labels: tuple[str, ...]) -> None:
    assert make_labels(names) == labels


def test_labels_are_always_distinct() -> None:
    from itertools import product

    paths = ["/".join(parts) for length in (1, 2, 3) for parts in product("ab", repeat=length)]
    for one, other, third in product(paths, repeat=3):
        names = [one, other, third]
        assert len(set(make_labels(names))) == 3, names
