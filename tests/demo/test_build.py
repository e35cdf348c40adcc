"""The demo is made by the product's own parts; a toy size shows that the path from text to finished runs holds."""

import pytest

from kslottery_core.checkpoints import open_pair, open_series
from kslottery_core.demo import DEMO_PATH, build_demo
from kslottery_core.demo.pretraining import FULL_SIZE, QUICK_SIZE
from kslottery_core.errors import RunError
from kslottery_core.ks import compute_pair_ks, compute_series_ks
from kslottery_core.runs import RunStore
from kslottery_core.tickets import load_ticket, select_ticket

SHIPPED_BYTES = 15_000_000


@pytest.fixture(scope="module")
def toy_demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "toy"
    events = []
    build_demo(out, quick=True, on_progress=events.append)
    return out, events


def test_a_toy_demo_holds_text_pair_ticket_and_finished_runs(toy_demo):
    out, events = toy_demo
    assert sorted(path.name for path in out.iterdir()) == [
        *("after", "before", "first_view", "runs", "series", "text", "ticket.json"),
    ]
    pair = open_pair(out / "before", out / "after")
    assert (pair.width, pair.tied) == (QUICK_SIZE.width, False)
    ticket = load_ticket(out / "ticket.json")
    assert ticket.fingerprint_after == pair.after.fingerprint
    records = RunStore(out / "runs").list()
    assert sorted(record.spec.method for record in records) == ["base", "base", "embedding", "ticket", "transfer"]
    assert all(record.status.state == "finished" and record.problem is None for record in records)
    assert {event.phase for event in events} >= {"tune", "generate", "score", "save"}


def test_the_records_of_a_built_demo_name_no_path_of_the_machine(toy_demo):
    out, _ = toy_demo
    for path in (out / "runs").rglob("*.json*"):
        assert str(out) not in path.read_text(encoding="utf-8"), path


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RunError, match="empty or new folder"):
        build_demo(tmp_path, quick=True)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_the_shipped_demo_is_whole_and_under_its_size():
    assert sum(path.stat().st_size for path in DEMO_PATH.rglob("*") if path.is_file()) < SHIPPED_BYTES
    pair = open_pair(DEMO_PATH / "before", DEMO_PATH / "after")
    assert pair.width == FULL_SIZE.width
    assert pair.tied is False
    result = compute_pair_ks(pair, "cpu")
    ticket = select_ticket(result, 0.05, tokens=pair.tokens)
    assert 0 < ticket.size < pair.vocabulary_size / 2
    shipped = load_ticket(DEMO_PATH / "ticket.json")
    assert shipped.token_ids == ticket.token_ids
    assert (shipped.fingerprint_before, shipped.fingerprint_after) == (
        result.fingerprint_before,
        result.fingerprint_after,
    )


def test_the_shipped_runs_are_finished_and_every_score_is_signed():
    records = RunStore(DEMO_PATH / "runs").list()
    assert {record.spec.method for record in records} >= {"base", "embedding", "ticket", "transfer"}
    for record in records:
        assert record.status.state == "finished"
        assert record.result["scores"]
        for score in record.result["scores"]:
            assert score["signature"] and score["decoding"] and score["test_set_hash"] and score["prompt_hash"]
        assert len(record.read_outputs()) == record.result["outputs"]
        saved = record.result["tuning"]["saved_path"]
        assert saved is None or saved.startswith("data/demo/")


def test_a_toy_series_holds_the_rows_that_tuning_changed(toy_demo):
    out, _ = toy_demo
    folders = sorted((out / "series").iterdir())
    assert [folder.name for folder in folders] == ["seed-42-step-1", "seed-42-step-2"]
    for folder in folders:
        changed = compute_pair_ks(open_pair(out / "before", folder), "cpu").changed
        assert 0 < changed.sum() < len(changed)
        assert load_ticket(folder / "ticket.json").token_ids == tuple(changed.nonzero()[0])


def test_the_shipped_series_opens_with_its_steps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    series = open_series(DEMO_PATH / "before", sorted((DEMO_PATH / "series").iterdir()))
    assert sorted(series.steps) == [25, 50, 100, 100, 200]
    results = compute_series_ks(series.before, series.afters, "cpu", steps=series.steps).results
    assert all(0 < result.changed_count < series.vocabulary_size for result in results)


def test_a_shipped_tuned_ticket_opens_on_its_base_from_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = sorted(DEMO_PATH.glob("runs/*/checkpoints/ticket"))
    assert folders
    for folder in folders:
        pair = open_pair(DEMO_PATH / "before", folder)
        assert compute_pair_ks(pair, "cpu").changed_count == load_ticket(folder / "ticket.json").size
