"""The certificate on disk: it comes back as it was, says what it rests on, and is verified or contradicted."""

import dataclasses
import json
import shutil

import pytest
import torch

from kslottery_core.certification import (
    KS_ASSUMPTION,
    NOT_THE_PAPER,
    Certification,
    certify,
    find_certificate_path,
    load_certification,
    name_certificates,
    save_certification,
    verify_certification,
)
from kslottery_core.checkpoints import find_generation_config, load_model, open_embedding
from kslottery_core.corpora import CorpusSpec
from kslottery_core.errors import CertificationError, CheckpointError
from kslottery_core.tickets import create_list_ticket


@pytest.fixture
def pair(make_pair):
    return make_pair(lambda rows: torch.where(torch.arange(64)[:, None] % 3 == 0, rows + 0.01, rows))


@pytest.fixture
def certified(pair, make_task, tmp_path):
    """(certification, its file)."""
    found = certify(make_task(*pair, range(0, 30, 3), significance_levels=(0.3, 0.9)))
    save_certification(found, tmp_path / "certificates" / "one.json")
    return found, tmp_path / "certificates" / "one.json"


def test_a_certificate_comes_back_as_it_was_and_says_what_it_rests_on(certified, pair):
    found, path = certified
    assert load_certification(path) == found
    content = json.loads(path.read_text())
    assert content["statement"] == NOT_THE_PAPER
    assert [level["assumption"] for level in content["levels"]] == [None, KS_ASSUMPTION]
    assert content["before"]["embedding"] == open_embedding(pair[0]).fingerprint
    assert content["after"]["embedding"] == open_embedding(pair[1]).fingerprint
    assert content["task"]["ticket"]["token_ids"] == list(range(0, 30, 3))
    assert content["decoding"] == "greedy, at most 8 new tokens, float32"
    assert content["versions"]["torch"] == torch.__version__
    assert [point["significance_level"] for point in content["grid"]] == [0.3, 0.9]


def test_a_damaged_or_foreign_file_is_told(certified, tmp_path):
    found, path = certified
    with pytest.raises(CertificationError, match="no file there"):
        load_certification(tmp_path / "nowhere.json")
    for content, message in (
        ({"a": 1}, "version 1, found none"),
        (found.to_json() | {"version": 99}, "found version 99"),
        (found.to_json() | {"width": "wide"}, "field 'width'"),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(CertificationError, match=message):
            load_certification(path)
    with pytest.raises(CertificationError, match="cannot be written"):
        save_certification(found, path / "below a file.json")


def test_an_unchanged_certificate_holds_also_for_copies_elsewhere(certified, pair, tmp_path):
    found, path = certified
    verification = verify_certification(load_certification(path))
    assert verification.holds
    assert verification.difference is None
    copies = [shutil.copytree(folder, tmp_path / f"copy-{folder.name}") for folder in pair]
    for folder in pair:
        shutil.rmtree(folder)
    moved = verify_certification(found, before=str(copies[0]), after=str(copies[1]))
    assert moved.holds


@pytest.mark.parametrize(("side", "number"), [("before", 0), ("after", 1)])
def test_a_changed_embedding_is_named(certified, pair, save_tiny_model, side, number):
    found, _ = certified
    model, _ = load_model(pair[number])
    with torch.no_grad():
        model.get_input_embeddings().weight[33] += 1e-4
    save_tiny_model(model, pair[number])
    verification = verify_certification(found)
    assert not verification.holds
    assert f"the input embedding of {pair[number]} ({side}) has changed" in verification.difference
    assert verification.recomputed is None


def test_a_changed_norm_is_named_although_no_matrix_changed(certified, pair, save_tiny_model):
    found, _ = certified
    model, _ = load_model(pair[1])
    with torch.no_grad():
        model.model.norm.weight *= 1.5
    save_tiny_model(model, pair[1])
    verification = verify_certification(found)
    assert not verification.holds
    assert f"parameters of {pair[1]} (after) outside its input embedding have changed" in verification.difference


def test_a_changed_text_ticket_or_tokenizer_is_named(certified, pair, tmp_path):
    found, _ = certified
    (tmp_path / "other.tsv").write_text("en\tca\nthe cat\ta cat\n")
    other_text = verify_certification(found, corpus=CorpusSpec(str(tmp_path / "other.tsv")))
    assert not other_text.holds
    assert "its 1 pairs are not the 6 that were certified" in other_text.difference
    other_ticket = verify_certification(found, ticket=create_list_ticket((3,), 64))
    assert "10 tokens were certified, 1 were given" in other_ticket.difference
    for folder in pair:
        content = json.loads((folder / "tokenizer.json").read_text())
        content["model"]["merges"] = content["model"]["merges"][:3]
        (folder / "tokenizer.json").write_text(json.dumps(content))
    assert "a tokenizer has changed" in verify_certification(found).difference


def test_counts_that_were_written_by_hand_are_contradicted(certified):
    found, _ = certified
    tally = found.grid[1].predictions
    level = dataclasses.replace(tally.levels[1], certified=tally.levels[1].certified + 1)
    forged = dataclasses.replace(tally, levels=(tally.levels[0], level))
    point = dataclasses.replace(found.grid[1], predictions=forged)
    verification = verify_certification(dataclasses.replace(found, grid=(found.grid[0], point)))
    assert not verification.holds
    assert verification.difference == (
        f"at alpha 0.9, predictions: certified (KS bound): {level.certified} in the certificate, "
        f"{level.certified - 1} when computed again."
    )
    assert verification.recomputed.grid == found.grid


def test_other_versions_are_told_beside_a_difference(certified):
    found, _ = certified
    chosen = dataclasses.replace(found.chosen, left_behind=0)
    old = dataclasses.replace(found, chosen=chosen, versions=found.versions | {"torch": "1.0"})
    assert "torch 1.0 then and" in verify_certification(old).difference


def test_a_certificate_is_kept_under_what_decides_it(certified, pair, make_task, tmp_path):
    task = certified[0].task
    kept = find_certificate_path(task, tmp_path)
    assert kept.parent == tmp_path
    assert find_certificate_path(dataclasses.replace(task, device="auto"), tmp_path) == kept
    others = [
        dataclasses.replace(task, ticket=create_list_ticket((3,), 64)),
        dataclasses.replace(task, max_new_tokens=9),
        dataclasses.replace(task, significance_levels=(0.3,)),
        dataclasses.replace(task, prompt="{source} ->"),
        dataclasses.replace(task, corpus=dataclasses.replace(task.corpus, limit=2)),
    ]
    assert len({kept, *(find_certificate_path(other, tmp_path) for other in others)}) == 6
    weights = pair[1] / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    stat = weights.stat()
    import os

    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    shutil.copyfile(pair[0] / "model.safetensors", weights)
    assert find_certificate_path(task, tmp_path) != kept


def test_the_name_of_a_kept_certificate_is_that_of_the_version_before(certified, pair, tmp_path):
    import hashlib

    from kslottery_core.checkpoints import open_pair, open_parameters
    from kslottery_core.corpora import load_corpus

    task = certified[0].task
    opened = open_pair(*pair)
    ticket = task.ticket
    decisive = {
        "version": 1,
        "sides": [
            (side.file_signature, open_parameters(folder).file_signature)
            for side, folder in zip((opened.before, opened.after), pair, strict=True)
        ],
        "ticket": [ticket.token_ids, ticket.significance_level, ticket.fingerprint_before, ticket.fingerprint_after],
        "corpus": [load_corpus(task.corpus).fingerprint, task.corpus.source, task.corpus.target],
        "prompt": task.prompt,
        "significance_levels": task.significance_levels,
        "max_new_tokens": task.max_new_tokens,
        "batch_size": task.batch_size,
        "generation": hashlib.sha256((pair[1] / "generation_config.json").read_bytes()).hexdigest(),
    }
    name = hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:32]
    assert find_certificate_path(task, tmp_path) == tmp_path / f"{name}.json"
    other = create_list_ticket((3,), 64)
    names = name_certificates(task, [ticket, other])
    assert names[0] == f"{name}.json"
    assert names[1] == find_certificate_path(dataclasses.replace(task, ticket=other), tmp_path).name


def test_a_ticket_of_the_grid_becomes_the_chosen_one_without_its_sentences(pair, make_task):
    from kslottery_core.checkpoints import open_pair
    from kslottery_core.ks import compute_pair_ks
    from kslottery_core.tickets import select_ticket

    opened = open_pair(*pair)
    result = compute_pair_ks(opened, "cpu")
    small, large = (select_ticket(result, level, tokens=opened.tokens) for level in (0.1, 0.9))
    assert small.size < large.size
    found = certify(make_task(*pair, ticket=small, significance_levels=(0.1, 0.9)))
    seen = found.choose_ticket(large)
    alone = certify(make_task(*pair, ticket=large, significance_levels=(0.1, 0.9)))
    assert seen.chosen == alone.chosen
    assert (seen.task.ticket, seen.grid) == (large, alone.grid)
    assert seen.sentences == seen.tokens == ()
    same = dataclasses.replace(small, significance_level=0.1001)
    assert found.choose_ticket(same).sentences == found.sentences
    assert found.choose_ticket(same).chosen.significance_level == 0.1001
    assert found.choose_ticket(create_list_ticket(large.token_ids, 64)) is None, "a list says nothing of its order"
    assert found.choose_ticket(dataclasses.replace(large, fingerprint_after="0" * 64)) is None


def test_the_end_tokens_of_the_model_decide_what_is_kept(certified, pair, make_task, tmp_path):
    task = certified[0].task
    settings = pair[1] / "generation_config.json"
    content = json.loads(settings.read_text())
    names = []
    for end_ids in (2, [2, 5]):
        settings.write_text(json.dumps(content | {"eos_token_id": end_ids}))
        names.append(find_certificate_path(task, tmp_path))
    settings.unlink()
    names.append(find_certificate_path(task, tmp_path))
    assert len(set(names)) == 3


def test_generation_settings_of_a_base_are_found(pair, tmp_path):
    settings = pair[0] / "generation_config.json"
    assert find_generation_config(pair[0]) == settings
    assert find_generation_config(pair[0] / "model.safetensors") == settings
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(pair[0])}))
    assert find_generation_config(adapter) == settings
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(adapter)}))
    with pytest.raises(CheckpointError, match="leads back to itself"):
        find_generation_config(adapter)


def test_a_verification_can_be_stopped(certified):
    assert verify_certification(certified[0], should_stop=lambda: True) is None


def test_a_certificate_of_unknown_levels_is_refused(certified):
    found, _ = certified
    content = found.to_json()
    content["levels"][1]["name"] = "hearsay"
    with pytest.raises(CertificationError, match="expected the levels exact, ks_bound, found exact, hearsay"):
        verify_certification(Certification.from_json(content))
