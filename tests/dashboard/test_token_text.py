import json

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import loaders, state
from dashboard.loaders import PairChoice
from dashboard.loaders.vocabulary import load_pair_counts
from kslottery_core.corpora import CorpusSpec
from kslottery_core.errors import KSLotteryError

SENTENCES = (("word1 word2 word2", "the word3"), ("word2", "word3 word3 word3"))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "train.jsonl"
    lines = [{"translation": {"en": one, "ca": other}} for one, other in SENTENCES]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def comparison(pair_folder):
    return loaders.load_comparison(PairChoice(str(pair_folder / "before"), str(pair_folder / "after")))


def show_chooser():
    import streamlit as st

    from dashboard import loaders, state
    from dashboard.controls.token_text import get_token_spec, show_token_text

    comparison = loaders.load_comparison(state.get_choice().pair)
    shown = show_token_text(comparison)
    st.text(f"shown: {shown is not None}, found: {get_token_spec(comparison) is not None}")


@pytest.fixture
def open_chooser(pair_folder):
    def open_with(**text):
        app = AppTest.from_function(show_chooser, default_timeout=60)
        pair = PairChoice(str(pair_folder / "before"), str(pair_folder / "after"))
        app.session_state["kslottery.choice"] = state.Choice(pair=pair, token_text=state.TokenText(**text))
        app.run()
        assert not app.exception, app.exception[0].message
        return app

    return open_with


def read_captions(app):
    return "\n".join(caption.value for caption in app.caption).replace("\\", "")


def test_tokens_are_counted_in_both_sides_with_the_tokenizer_of_the_before_model(comparison, text):
    counts = load_pair_counts(comparison, CorpusSpec(str(text), "en", "ca"), "text")
    expected = np.zeros(64, dtype=np.int64)
    ids = {token.lstrip("␣"): token_id for token_id, token in enumerate(comparison.pair.tokens)}
    for word in " ".join(side for pair in SENTENCES for side in pair).split():
        # This tokenizer knows "the" without a space only, and takes it for every word that it does not know.
        expected[ids[word]] += 1
    assert counts.dtype == np.int64
    assert counts.tolist() == expected.tolist()


def test_a_changed_text_is_counted_anew(comparison, text):
    spec = CorpusSpec(str(text), "en", "ca")
    before = load_pair_counts(comparison, spec, "text").sum()
    with text.open("a") as file:
        file.write(json.dumps({"translation": {"en": "word9", "ca": "word8"}}) + "\n")
    assert load_pair_counts(comparison, spec, "text").sum() == before + 2


def test_a_pair_without_a_tokenizer_counts_nothing_and_says_so(pair_folder, text, tmp_path):
    import shutil

    for name in ("before", "after"):
        shutil.copytree(pair_folder / name, tmp_path / name, ignore=shutil.ignore_patterns("tokenizer*", "special*"))
    comparison = loaders.load_comparison(PairChoice(str(tmp_path / "before"), str(tmp_path / "after")))
    with pytest.raises(KSLotteryError, match="expected a tokenizer beside the model"):
        load_pair_counts(comparison, CorpusSpec(str(text), "en", "ca"), "text")


def test_without_a_text_the_expander_says_what_to_give(open_chooser):
    app = open_chooser()
    assert "none chosen" in app.expander[0].label
    assert "Give a file of sentence pairs" in read_captions(app)
    assert app.text[0].value == "shown: False, found: False"


def test_the_demo_counts_in_the_text_that_it_was_trained_on(open_chooser, pair_folder, text, monkeypatch):
    monkeypatch.setattr(loaders, "DEMO_PATH", pair_folder)
    monkeypatch.setattr(loaders, "find_demo_text", lambda part: text if part == "train" else None)
    app = open_chooser()
    assert "train.jsonl, en and ca" in app.expander[0].label.replace("\\", "")
    assert app.text[0].value == "shown: True, found: True"


def test_a_text_is_chosen_and_cleared_by_its_fields(open_chooser, text):
    app = open_chooser()
    app.text_input(key="token_text_path").set_value(str(text))
    app.text_input(key="token_text_source").set_value("en")
    app.text_input(key="token_text_target").set_value("ca").run()
    assert app.text[0].value == "shown: True, found: True"
    assert "2 lines read: 2 accepted" in read_captions(app)
    assert app.session_state["kslottery.choice"].token_text == state.TokenText(str(text), "en", "ca")
    app.text_input(key="token_text_path").set_value("").run()
    assert app.session_state["kslottery.choice"].token_text.path is None


def test_columns_that_are_no_languages_are_chosen(open_chooser, tmp_path):
    path = tmp_path / "named.jsonl"
    path.write_text(json.dumps({"left": "word1", "right": "word2"}) + "\n")
    app = open_chooser(path=str(path), source="en", target="ca")
    assert app.text[0].value == "shown: False, found: False"
    app.selectbox(key="token_text_source_column").set_value("left")
    app.selectbox(key="token_text_target_column").set_value("right").run()
    assert app.text[0].value == "shown: True, found: True"
    assert "left and right" in app.expander[0].label


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ({"path": "/nowhere/text.jsonl", "source": "en", "target": "ca"}, "There is no file at /nowhere/text.jsonl"),
        ({"path": __file__, "source": "en", "target": "en"}, "expected two different columns"),
        ({"path": __file__, "source": "en", "target": "ca"}, "test_token_text.py"),
    ],
)
def test_a_text_that_cannot_be_read_is_one_sentence_and_stays(open_chooser, text, words):
    app = open_chooser(**text)
    assert words in read_captions(app)
    assert "Frequencies are not measured until then" in read_captions(app)
    assert app.text_input(key="token_text_path").value == text["path"]
    assert app.text[0].value == "shown: False, found: False"


def test_a_text_on_the_hub_is_fetched_only_after_a_click(open_chooser, monkeypatch):
    from dashboard.controls import token_text

    looked = []
    monkeypatch.setattr(token_text, "load_preview", lambda spec: looked.append(spec) or 1 / 0)
    app = open_chooser(path="hub:someone/text", source="en", target="ca")
    assert "lies on the hub" in read_captions(app)
    assert app.button(key="token_text_fetch").label == "Fetch the text from the hub"
    assert looked == []


def test_the_address_of_the_tokens_page_restores_the_text():
    text = state.TokenText("/texts/train.jsonl", "en", "ca", "left", "right")
    address = state.build_address(state.Choice(token_text=text), "tokens")
    choice, problems = state.read_address(address, state.Choice())
    assert (choice.token_text, problems) == (text, ())
    assert choice.certificates == state.CertificatesView()
    assert state.build_address(state.Choice(token_text=text), "alpha") == {}
    assert state.forget_addressed(choice, "tokens", {}).token_text == state.TokenText()


def test_prompts_and_special_tokens_count_in_the_demo_as_tuning_encodes_them(monkeypatch):
    from kslottery_core import demo
    from kslottery_core.checkpoints import load_tokenizer
    from kslottery_core.corpora import DEFAULT_PROMPT, fill_prompt, load_corpus
    from kslottery_core.tuning.dataset import encode_pair

    monkeypatch.setattr(loaders, "DEMO_PATH", demo.DEMO_PATH)
    comparison = loaders.load_comparison(loaders.resolve_choice(PairChoice()))
    spec = CorpusSpec(str(loaders.find_demo_text("train")))
    tokenizer, pairs = load_tokenizer(comparison.choice.before), load_corpus(spec).pairs
    expected = np.zeros(comparison.pair.vocabulary_size, dtype=np.int64)
    for pair in pairs:
        prompt = fill_prompt(DEFAULT_PROMPT, source=pair.source, source_language="en", target_language="ca")
        for token_id in encode_pair(tokenizer, prompt, pair.target, 256)[0]:
            expected[token_id] += 1
    counts = load_pair_counts(comparison, spec, "training")
    np.testing.assert_array_equal(counts, expected)
    alone = load_pair_counts(comparison, spec, "text")
    ids = {token: token_id for token_id, token in enumerate(comparison.pair.tokens)}
    for word in ("Translate", "English", "Catalan"):
        assert counts[ids[word]] == len(pairs), word
        assert alone[ids[word]] == 0, word


def test_what_is_counted_is_chosen_and_said(open_chooser, text):
    app = open_chooser(path=str(text), source="en", target="ca")
    assert "as read in training" in app.expander[0].label
    assert "as the model reads it in training: every pair in the usual prompt" in read_captions(app)
    app.selectbox(key="token_text_counted").set_value("text").run()
    assert app.session_state["kslottery.choice"].token_text.counted == "text"
    assert "text alone" in app.expander[0].label
    assert "the sentences of both sides alone" in read_captions(app)


def test_the_count_restores_from_an_address_and_another_is_refused():
    alone = state.Choice(token_text=state.TokenText(counted="text"))
    assert state.build_address(alone, "tokens")["counted"] == "text"
    assert "counted" not in state.build_address(state.Choice(), "tokens")
    assert state.read_address({"counted": "text"}, state.Choice())[0].token_text == alone.token_text
    kept, problems = state.read_address({"counted": "words"}, alone)
    assert kept.token_text == alone.token_text
    assert "words" in problems[0]
