import shutil
from dataclasses import replace

import pytest

from dashboard import loaders
from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.report.context import ReportContext
from dashboard.report.report import build_report
from dashboard.state.choice import Choice, TokenMapView
from dashboard.state.report_words import ReportWords
from dashboard.views.report.blocks import BLOCKS
from dashboard.wording import format_moment
from kslottery_core.corpora import CorpusSpec
from kslottery_core.demo import DEMO_PATH

MOMENT = 1_780_000_000.0
KEPT = ("curve", "threshold", "map", "tokens")
DEMO = Choice(PairChoice(str(DEMO_PATH / "before"), str(DEMO_PATH / "after")), token_ids=(5, 7))


def build(choice, moment=MOMENT, text=None):
    """Each block of a report by its name."""
    comparison = loaders.load_comparison(choice.pair)
    selection = loaders.load_selection(comparison, choice.alpha)
    context = ReportContext(choice, comparison, selection, moment, lambda wanted: False, text)
    blocks = tuple(block for block in BLOCKS if block.name in KEPT)
    return {section.name: section.block for section in build_report(context, blocks, "", ReportWords()).sections}


def list_anew(first, second):
    return [name for name in KEPT if first[name] is not second[name]]


def test_the_same_block_is_drawn_once_and_says_when():
    first, later = build(DEMO), build(DEMO, MOMENT + 3_600)
    assert list_anew(first, later) == []
    for block in later.values():
        assert block.signature.endswith(f"drawn {format_moment(MOMENT)}")


@pytest.mark.parametrize(
    ("changed", "anew"),
    [
        ({"alpha": AlphaChoice(0.1)}, ["curve", "threshold", "map", "tokens"]),
        ({"alpha": AlphaChoice(top_k=3)}, ["curve", "threshold", "map", "tokens"]),
        ({"token_map": TokenMapView(x="cosine")}, ["map"]),
        ({"token_ids": (7,)}, ["tokens"]),
    ],
)
def test_a_block_is_drawn_anew_when_what_it_rests_on_changes(changed, anew):
    assert list_anew(build(DEMO), build(replace(DEMO, **changed))) == anew


def test_another_after_model_gives_other_blocks(tmp_path):
    first = build(DEMO)
    after = shutil.copytree(DEMO_PATH / "after", tmp_path / "after")
    other = replace(DEMO, pair=replace(DEMO.pair, after=str(after)))
    assert list_anew(first, build(other)) == list(KEPT)


def test_the_map_is_drawn_anew_when_its_text_changes(tmp_path):
    path = tmp_path / "text.tsv"
    path.write_text("en\tca\nthe cat\tel gat\n")
    text = CorpusSpec(str(path))
    first = build(DEMO, text=text)
    assert list_anew(first, build(DEMO, text=text)) == []
    path.write_text("en\tca\nthe cat\tel gat\nthe dog\tel gos\n")
    assert list_anew(first, build(DEMO, text=text)) == ["map"]


def test_a_block_that_could_not_be_drawn_is_tried_again(tmp_path):
    text = CorpusSpec(str(tmp_path / "gone.tsv"))
    first, second = build(DEMO, text=text), build(DEMO, text=text)
    assert first["map"].problem and second["map"].problem
    assert list_anew(first, second) == ["map"]
