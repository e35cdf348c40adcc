import dataclasses

import pytest

from kslottery_core.corpora import CorpusSpec, load_corpus
from kslottery_core.errors import KSLotteryError, RunError
from kslottery_core.evaluation.generate import EvaluationSettings
from kslottery_core.runs import RunSpec, check_inputs, check_spec
from kslottery_core.runs.spec import resolve_paths
from kslottery_core.tickets import Ticket
from kslottery_core.tuning.settings import TuningSettings


def test_a_spec_survives_its_json_form_with_the_whole_ticket(make_spec):
    spec = make_spec(evaluation=EvaluationSettings(beams=4), tuning=TuningSettings(learning_rate=1e-4))
    content = spec.to_json()
    assert content["ticket"]["token_ids"] == (3, 5)
    assert RunSpec.from_json(content, "spec.json") == spec


def test_a_spec_with_only_what_is_needed_takes_the_defaults():
    spec = RunSpec.from_json({"name": "a", "method": "base", "model": "gpt2"}, "spec.json")
    assert (spec.device, spec.output, spec.ticket, spec.tuning) == ("auto", "rows", None, TuningSettings())


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", " ", "name: expected one line"),
        ("name", "two\nlines", "name: expected one line"),
        ("name", "x" * 121, "name: expected one line of 1 to 120"),
        ("method", "magic", "method: expected one of base, full"),
        ("model", "", "model: expected a folder"),
        ("device", "tpu", "device: expected auto, cpu"),
        ("device", "cuda:", "device: expected auto, cpu"),
        ("output", "zip", "output: expected one of rows, checkpoint"),
    ],
)
def test_a_wrong_value_is_refused_at_construction(make_spec, field, value, said):
    with pytest.raises(RunError, match=said):
        make_spec(**{field: value})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "/no/such/model"}, "model: expected .* found nothing at /no/such/model"),
        ({"model": "a/b/c.gguf"}, "model: expected .* hub id"),
        ({"revision": "main"}, "revision: only a hub id has revisions"),
        ({"ticket": None}, "ticket: 'ticket' needs a ticket"),
        ({"ticket": Ticket(token_ids=(), vocabulary_size=9, rule="list")}, "ticket: expected at least one token"),
        ({"method": "full"}, "ticket: 'full' uses no ticket, found one of 2 tokens"),
        ({"method": "transfer", "train": None}, "after: 'transfer' copies rows"),
        ({"method": "transfer", "train": None, "after": "/gone"}, "after: expected .* found nothing at /gone"),
        ({"method": "embedding", "ticket": None, "after": "gpt2"}, "after: 'embedding' uses no second model"),
        ({"train": None}, "train: 'ticket' learns from parallel text"),
        ({"method": "base", "ticket": None}, "train: 'base' trains nothing"),
        ({"method": "base", "ticket": None, "train": None, "test": None}, "test: 'base' only scores"),
        ({"train": CorpusSpec(path="/gone.jsonl")}, "train: expected a file .* nothing at /gone.jsonl"),
        ({"test": CorpusSpec(path="/gone.jsonl")}, "test: expected a file .* nothing at /gone.jsonl"),
        ({"prompt": "no place for it"}, "source"),
    ],
)
def test_what_cannot_run_is_refused_in_one_sentence(make_spec, changes, said):
    with pytest.raises(KSLotteryError, match=said):
        check_spec(make_spec(**changes))


def test_good_specs_of_every_method_pass(make_spec, tmp_path):
    check_spec(make_spec())
    check_spec(make_spec(method="base", ticket=None, train=None))
    check_spec(make_spec(method="embedding", ticket=None, test=None))
    check_spec(make_spec(method="transfer", train=None, after=str(tmp_path / "model")))
    check_spec(make_spec(model="HuggingFaceTB/SmolLM2-135M", revision="main"))
    check_spec(make_spec(train=CorpusSpec(path="hub:wmt/wmt16", subset="ro-en", split="train")))


def test_an_unknown_field_in_spec_json_is_named(make_spec):
    with pytest.raises(RunError, match="unknown field 'colour'"):
        RunSpec.from_json({**make_spec().to_json(), "colour": "red"}, "spec.json")
    with pytest.raises(RunError, match="expected a JSON object"):
        RunSpec.from_json([1], "spec.json")


def test_paths_on_this_disk_become_absolute_and_hub_ids_stay(make_spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = make_spec(model="model", after="org/name", train=CorpusSpec(path="train.jsonl", limit=2), test=None)
    resolved = resolve_paths(spec)
    assert resolved.model == str((tmp_path / "model").resolve())
    assert resolved.after == "org/name"
    assert resolved.train == dataclasses.replace(spec.train, path=str((tmp_path / "train.jsonl").resolve()))
    assert resolved.test is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": CorpusSpec("train.jsonl", source="xx")}, "xx"),
        ({"ticket": Ticket((99,), 100, "list")}, "token id 99 does not exist in this model of 64 rows"),
        ({"ticket": Ticket((9,), 64, "list", width=5)}, "made for rows of width 5"),
        ({"model": "clone/data/nothing"}, "clone/data/nothing"),
    ],
)
def test_files_that_would_fail_a_run_later_are_refused_when_it_is_started(
    make_spec, tiny_llama_folder, changes, message
):
    good = make_spec(model=str(tiny_llama_folder))
    check_inputs(good)
    if "train" in changes:
        changes = {"train": dataclasses.replace(good.train, source=changes["train"].source)}
    with pytest.raises(KSLotteryError, match=message):
        check_inputs(dataclasses.replace(good, **changes))


def test_a_text_behind_a_link_keeps_the_name_that_tells_its_format(store, make_spec, tmp_path, monkeypatch):
    """As the hub's cache lays them: a name with a suffix leads to a file without one."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").rename(blobs / f"{name}digest")
        (snapshot / f"{name}.jsonl").symlink_to(blobs / f"{name}digest")
    (tmp_path / "latest").symlink_to(tmp_path / "model")
    monkeypatch.chdir(snapshot)
    spec = make_spec(model="../latest", train=CorpusSpec("train.jsonl"), test=CorpusSpec(str(snapshot / "test.jsonl")))
    kept = store.create(spec).spec
    assert kept.train.path == str(snapshot.resolve() / "train.jsonl")
    assert kept.model == str((tmp_path / "model").resolve())
    for corpus in (kept.train, kept.test):
        assert len(load_corpus(corpus).pairs) >= 2
    same = dataclasses.replace(spec, train=CorpusSpec(str(blobs / "traindigest")))
    assert resolve_paths(same, follow_links=True).train == resolve_paths(spec, follow_links=True).train
