"""`kslottery ticket`: every way of choosing rows, and what cannot be combined."""

import json

import pytest

from kslottery_core.checkpoints import open_embedding
from kslottery_core.tickets import load_ticket


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "pairs.jsonl"
    pairs = [("the cat", "the house"), ("the bird", "the cat")]
    path.write_text("".join(json.dumps({"translation": {"en": one, "ca": other}}) + "\n" for one, other in pairs))
    return path


@pytest.fixture
def choose(run, tiny_llama_folder, tmp_path):
    """The ticket that a way gives for the tiny model; also what was printed."""

    def choose_rows(*options, model=tiny_llama_folder):
        path = tmp_path / "chosen.json"
        status, out, err = run("ticket", *([model] if model else []), *options, "--out", path)
        assert status == 0, err
        return load_ticket(path), out

    return choose_rows


def test_the_most_frequent_tokens_of_both_sides(choose, corpus, tiny_tokenizer):
    ticket, out = choose("--frequent", 1, "--corpus", corpus, "--text-alone")
    assert ticket.token_ids == (tiny_tokenizer.convert_tokens_to_ids("▁the"),)
    assert (ticket.rule, ticket.width, ticket.vocabulary_size, ticket.tokens) == ("frequent", 16, 64, ("␣the",))
    assert "The 1 most frequent tokens of pairs.jsonl (the text alone), each at least 4 times." in out
    again, _ = choose("--frequent", 1, "--corpus", corpus, "--corpus", corpus, "--text-alone")
    assert "each at least 8 times" in again.note


def test_the_most_frequent_tokens_of_training_count_prompt_and_end_token(choose, corpus, tiny_tokenizer):
    from collections import Counter

    from kslottery_core.tuning.dataset import encode_pair

    counts: Counter[int] = Counter()
    for source, target in (("the cat", "the house"), ("the bird", "the cat")):
        counts.update(encode_pair(tiny_tokenizer, f"{source} house house", target, 6)[0])
    ticket, out = choose("--frequent", 3, "--corpus", corpus, "--prompt", "{source} house house", "--max-length", 6)
    ranked = sorted(counts, key=lambda token_id: (-counts[token_id], token_id))
    assert ticket.token_ids == tuple(sorted(ranked[:3]))
    assert f"pairs.jsonl (as read in training), each at least {counts[ranked[2]]} times" in out


def test_random_tokens_alone_and_as_frequent_as_those_of_a_ticket(choose, corpus, tmp_path):
    ticket, out = choose("--random", 5, "--seed", 7)
    assert (ticket.size, ticket.rule, ticket.width) == (5, "random", 16)
    assert "5 of 64 tokens\n5 random tokens, seed 7." in out
    assert choose("--random", 5, "--seed", 7)[0] == ticket != choose("--random", 5)[0]
    (tmp_path / "chosen.json").rename(tmp_path / "like.json")
    like = load_ticket(tmp_path / "like.json")
    matched, _ = choose("--like", tmp_path / "like.json", "--corpus", corpus, "--seed", 1)
    assert (matched.size, matched.rule) == (5, "matched")
    assert not set(matched.token_ids) & set(like.token_ids)


def test_the_tokens_of_the_prompt(choose):
    ticket, _ = choose("--prompt-tokens", "--prompt", "the red house: {source}\ncat")
    assert ticket.rule == "prompt"
    assert {"cat", "↵", ":"} <= set(ticket.tokens)
    default, _ = choose("--prompt-tokens")
    assert {"↵", ":", "T"} <= set(default.tokens)


def test_a_list_that_is_typed_or_in_a_file(choose, tmp_path):
    ticket, _ = choose("--list", "13, 5-7, ␣the")
    assert (ticket.rule, ticket.size, ticket.width) == ("list", 5, 16)
    assert {5, 6, 7, 13} < set(ticket.token_ids)
    (tmp_path / "ids.txt").write_text("13\n5-7\n␣the\n", encoding="utf-8")
    assert choose("--list", f"@{tmp_path / 'ids.txt'}")[0] == ticket


def test_unions_and_intersections_need_no_model(choose, tmp_path):
    for name, ids in (("a", "1-4"), ("b", "3-6")):
        choose("--list", ids)
        (tmp_path / "chosen.json").rename(tmp_path / f"{name}.json")
    both = ["--union", tmp_path / "a.json", "--union", tmp_path / "b.json"]
    ticket, out = choose(*both, model=None)
    assert (ticket.token_ids, ticket.width) == ((1, 2, 3, 4, 5, 6), 16)
    assert "Union of a.json (4 tokens), b.json (4 tokens)." in out
    common = ["--intersect", tmp_path / "a.json", "--intersect", tmp_path / "b.json"]
    assert choose(*common, model=None)[0].token_ids == (3, 4)


def test_a_chosen_ticket_fits_the_model_it_was_chosen_for(choose, tiny_llama_folder):
    ticket, _ = choose("--random", 64)
    assert (ticket.size, ticket.width) == open_embedding(tiny_llama_folder).shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{model}", "--random", "3", "--frequent", "3"), "expected one way of choosing rows, found --frequent and"),
        (("{model}", "{model}", "--random", "3"), "--random needs one checkpoint"),
        (("--random", "3"), "--random needs one checkpoint, the model to choose rows of, found none"),
        (("{model}", "--published", "ca"), "--published needs no checkpoint"),
        (("{model}", "--union", "a.json"), "--union needs no checkpoint"),
        (("{model}", "--top-k", "3"), "expected two checkpoints"),
        (("--union", "missing.json"), "missing.json"),
        (("--union", "{ticket}"), "union: expected at least two tickets, found 1"),
        (("--intersect", "{ticket}", "--intersect", "{other}"), "for the same vocabulary, found 64 in ticket.json"),
        (("{model}", "--random", "65"), "from 1 to 64, found 65"),
        (("{model}", "--random", "3", "--seed", "-1"), "seed: expected a whole number of at least 0"),
        (("{model}", "--random", "3", "--corpus", "{corpus}"), "--corpus belongs to --frequent and --like"),
        (("{model}", "--list", "3", "--seed", "1"), "--seed belongs to --random and --like, found it with --list"),
        (
            ("{model}", "{model}", "--prompt", "{source}"),
            "--prompt belongs to --prompt-tokens and --frequent and --like, found it",
        ),
        (("{model}", "--frequent", "3"), "give --corpus FILE"),
        (("{model}", "--frequent", "65", "--corpus", "{corpus}"), "from 1 to 64, found 65"),
        (("{model}", "--frequent", "3", "--corpus", "none.tsv"), "none.tsv"),
        (("{model}", "--like", "{other}", "--corpus", "{corpus}"), "for a vocabulary of 64, found one for 32,000"),
        (("{model}", "--prompt-tokens", "--prompt", "no place"), "{source}"),
        (("{model}", "--list", "64"), "expected ids from 0 to 63, found 64"),
        (("{model}", "--list", "3, 3"), "found the id 3 2 times"),
        (("{model}", "--list", "Zebra"), "found no token 'Zebra'"),
        (("{model}", "--list", "@nowhere.txt"), "nowhere.txt: expected a file with a list of tokens"),
    ],
)
def test_what_cannot_be_chosen_is_one_sentence_and_status_two(
    run, tiny_llama_folder, corpus, tmp_path, arguments, message
):
    for name, size in (("ticket", 64), ("other", 32000)):
        content = {"token_ids": [1], "vocabulary_size": size, "rule": "list"}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    filled = []
    for argument in arguments:
        for name, path in (("model", tiny_llama_folder), ("corpus", corpus)):
            argument = argument.replace(f"{{{name}}}", str(path))
        for name in ("ticket", "other"):
            argument = argument.replace(f"{{{name}}}", str(tmp_path / f"{name}.json"))
        filled.append(argument)
    status, _, err = run("ticket", *filled)
    assert status == 2
    assert err.startswith("Error: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1
