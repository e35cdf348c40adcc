"""A report about one model shows that model's runs, and slides say what each picture is about."""

import pytest

from dashboard import loaders
from dashboard.loaders import PairChoice
from dashboard.report.context import ReportContext
from dashboard.report.report import build_report
from dashboard.report.slides import build_slides
from dashboard.state.choice import Choice
from dashboard.state.report_words import ReportWords
from dashboard.views.report.blocks import find_block
from kslottery_core.demo import DEMO_PATH

MOMENT = 1_780_000_000.0


def make_context(choice):
    pair = loaders.resolve_choice(choice.pair)
    comparison = loaders.load_comparison(pair)
    return ReportContext(
        choice, comparison, loaders.load_selection(comparison, choice.alpha), MOMENT, lambda wanted: False
    )


def read_runs(block):
    return {run for table in block.tables for run in table.dataframe["Run"]}


def test_runs_of_another_model_are_left_out_unless_they_are_chosen(monkeypatch, save_run, make_score, pair_folder):
    monkeypatch.setattr(loaders, "DEMO_PATH", DEMO_PATH)
    save_run("own", scores=[make_score(20.0)], name="Somebody else's")
    demo = find_block("comparison").build(make_context(Choice()))
    assert len(read_runs(demo)) == 7
    assert "Somebody else's" not in read_runs(demo)
    assert "1 finished run of other models is left out" in " ".join(demo.paragraphs)

    choice = Choice(pair=PairChoice(str(pair_folder / "before"), str(pair_folder / "after")))
    other = find_block("comparison").build(make_context(choice))
    assert other.problem == (
        "No scored run starts from this pair's before model (8 finished runs of other models); choose runs on the "
        "Compare page, or start one on the Runs page."
    )
    chosen = find_block("comparison").build(make_context(Choice(pair=choice.pair, compared_runs=("own",))))
    assert read_runs(chosen) == {"Somebody else's"}


def test_bars_of_one_measure_share_an_axis_over_all_groups(save_run, make_score, pair_folder):
    save_run("low", scores=[make_score(10.0)])
    save_run("high", scores=[make_score(30.0, test_set_hash="t2")])
    pair = PairChoice(str(pair_folder / "before"), str(pair_folder / "after"))
    block = find_block("comparison").build(make_context(Choice(pair=pair, compared_runs=("low", "high"))))
    assert [picture.figure.layout.xaxis.range[1] for picture in block.pictures] == [pytest.approx(33)] * 2


def test_slides_of_one_block_name_the_token_in_their_title(monkeypatch):
    monkeypatch.setattr(loaders, "DEMO_PATH", DEMO_PATH)
    context = make_context(Choice(token_ids=(354, 302)))
    slides = build_slides(build_report(context, [find_block("tokens")], "Title", ReportWords()))
    assert [slide.title for slide in slides[1:]] == [
        "Picked tokens: Translate (token 354)",
        "Picked tokens: Translate (token 354)",
        "Picked tokens: English (token 302)",
        "Picked tokens: English (token 302)",
    ]
