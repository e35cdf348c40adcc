"""Folders: FLORES, and data sets of the package `datasets`, which a fake stands in for."""

import json
import sys
import types

import pytest

from kslottery_core.corpora import CorpusSpec, SentencePair, load_corpus, preview_corpus
from kslottery_core.errors import CorpusError

TEXTS = {
    "eng": ["one", "two"],
    "cat": ["un", "dos"],
    "zho_simpl": ["一", "二"],
    "zho_trad": ["壹", "貳"],
}


@pytest.fixture
def flores(tmp_path):
    """FLORES-101 and FLORES-200, two sentences each in both splits."""
    for root, codes in (("flores101_dataset", list(TEXTS)), ("flores200", ["eng_Latn", "cat_Latn", "spa_Latn"])):
        for split in ("dev", "devtest"):
            folder = tmp_path / root / split
            folder.mkdir(parents=True)
            for code in codes:
                lines = TEXTS.get(code) or TEXTS.get(code[:3]) or ["uno", "dos"]
                (folder / f"{code}.{split}").write_text("".join(f"{line} {split}\n" for line in lines), "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("folder", "source", "target"),
    [
        ("flores101_dataset", "en", "ca"),
        ("flores101_dataset/devtest", "eng", "cat"),
        (".", "eng", "ca"),
        ("flores200", "en", "ca"),
        ("flores200/devtest", "eng_Latn", "cat_Latn"),
        ("flores200", "en", "cat"),
    ],
)
def test_languages_are_found_by_any_of_their_codes(flores, folder, source, target):
    corpus = load_corpus(CorpusSpec(str(flores / folder), source, target))
    assert corpus.pairs == (SentencePair("one devtest", "un devtest"), SentencePair("two devtest", "dos devtest"))


def test_the_split_can_be_chosen(flores):
    spec = CorpusSpec(str(flores / "flores200"), split="dev")
    assert load_corpus(spec).pairs[0] == SentencePair("one dev", "un dev")
    with pytest.raises(CorpusError, match="expected the split 'train' of FLORES, found dev, devtest"):
        load_corpus(CorpusSpec(str(flores / "flores200"), split="train"))


def test_a_preview_lists_all_languages(flores):
    preview = preview_corpus(CorpusSpec(str(flores / "flores200")))
    assert (preview.format, preview.columns) == ("flores", ("cat_Latn", "eng_Latn", "spa_Latn"))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("xx", "expected a file of the language 'xx', found cat, eng, zho_simpl, zho_trad; name one of them"),
        ("zh", "expected one file of the language 'zh', found zho_simpl and zho_trad"),
        ("eng", "expected two languages, found 'en' and 'eng' for the same file"),
    ],
)
def test_an_unknown_or_doubtful_language_is_one_clear_error(flores, target, message):
    with pytest.raises(CorpusError) as caught:
        load_corpus(CorpusSpec(str(flores / "flores101_dataset"), target=target))
    assert message in str(caught.value)


def test_files_of_different_length_are_refused(flores):
    with (flores / "flores101_dataset/devtest/cat.devtest").open("a") as file:
        file.write("tres\n")
    with pytest.raises(CorpusError, match=r"as many lines as in cat\.devtest, found 2 and 3"):
        load_corpus(CorpusSpec(str(flores / "flores101_dataset")))


def test_split_and_subset_belong_to_folders_that_have_them(tmp_path):
    (tmp_path / "a.tsv").write_text("en\tca\na\tb\n")
    with pytest.raises(CorpusError, match="split: only FLORES and data sets have splits"):
        load_corpus(CorpusSpec(str(tmp_path / "a.tsv"), split="dev"))
    with pytest.raises(CorpusError, match="subset: only a data set on the hub"):
        load_corpus(CorpusSpec(str(tmp_path / "a.tsv"), subset="en-ca"))


ROWS = [{"id": 1, "translation": {"en": "one", "ca": "un"}}, {"id": 2, "translation": {"en": "two", "ca": None}}]


@pytest.fixture
def package(monkeypatch):
    """A stand-in for `datasets` that answers with `package.answer` and remembers its calls."""
    fake = types.ModuleType("datasets")
    fake.calls, fake.answer = [], ROWS

    def remember(name):
        def call(*positional, **named):
            fake.calls.append((name, positional, named))
            if isinstance(fake.answer, Exception):
                raise fake.answer
            return fake.answer

        return call

    fake.load_dataset, fake.load_from_disk = remember("load_dataset"), remember("load_from_disk")
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return fake


@pytest.fixture
def saved(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").write_text("{}")
    return tmp_path / "saved"


def test_a_data_set_on_the_hub_is_asked_for_by_its_name(package):
    spec = CorpusSpec("hub:wmt/wmt16", subset="ca-en", split="train", max_rejected_share=0.5)
    corpus = load_corpus(spec)
    assert package.calls == [("load_dataset", ("wmt/wmt16",), {"name": "ca-en", "split": "train"})]
    assert (corpus.name, corpus.pairs, corpus.lines) == ("wmt16", (SentencePair("one", "un"),), (1,))
    assert [(r.line, r.reason) for r in corpus.rejected] == [(2, "the field 'ca' is not text (NoneType)")]


def test_a_saved_data_set_is_read_from_its_folder(package, saved):
    package.answer = {"train": ROWS[:1]}
    assert load_corpus(CorpusSpec(str(saved))).pairs == (SentencePair("one", "un"),)
    assert package.calls == [("load_from_disk", (str(saved),), {})]


def test_instructions_in_a_data_set_are_recognised(package, saved):
    package.answer = [{"instruction": "a", "input": "b", "output": "c"}]
    assert load_corpus(CorpusSpec(str(saved))).pairs == (SentencePair("a\n\n### Input:\nb", "c"),)


def test_one_of_several_splits_must_be_named(package, saved):
    package.answer = {"train": ROWS[:1], "test": ROWS[:1]}
    assert len(load_corpus(CorpusSpec(str(saved), split="test")).pairs) == 1
    with pytest.raises(CorpusError, match="one of the splits train, test, found no split named"):
        load_corpus(CorpusSpec(str(saved)))
    with pytest.raises(CorpusError, match="one of the splits train, test, found the split 'dev'"):
        load_corpus(CorpusSpec(str(saved), split="dev"))
    package.answer = ROWS[:1]
    with pytest.raises(CorpusError, match=r"found a data set of one split \(None\)"):
        load_corpus(CorpusSpec(str(saved), split="dev"))


def test_what_the_package_raises_is_told_in_one_sentence(package, saved):
    package.answer = RuntimeError("no network\nmore lines")
    with pytest.raises(CorpusError, match=r"cannot load this data set \(no network\)\.$"):
        load_corpus(CorpusSpec("hub:some/where"))

    def break_while_reading():
        yield ROWS[0]
        raise ValueError("torn file")

    package.answer = break_while_reading()
    with pytest.raises(CorpusError, match=r"\(torn file\)"):
        load_corpus(CorpusSpec(str(saved)))


def test_without_the_package_one_sentence_says_what_to_do(monkeypatch, saved):
    monkeypatch.setitem(sys.modules, "datasets", None)
    for path in (str(saved), "hub:wmt/wmt16"):
        with pytest.raises(CorpusError, match="`pip install datasets`, or export the text as JSONL"):
            load_corpus(CorpusSpec(path))


def test_a_folder_of_another_kind_is_refused(tmp_path):
    (tmp_path / "notes.json").write_text(json.dumps({}))
    with pytest.raises(CorpusError, match="found a folder that is neither"):
        load_corpus(CorpusSpec(str(tmp_path)))
