import dataclasses
from types import SimpleNamespace

import pytest

from dashboard import loaders
from dashboard.loaders import AlphaChoice, PairChoice
from dashboard.loaders.scan import plan_scan
from dashboard.loaders.series import expand_sources, load_kept_series, load_series
from dashboard.report.block import Block, Picture, sign_block
from dashboard.report.context import ReportContext
from dashboard.report.html_table import render_table
from dashboard.report.report import build_report
from dashboard.report.slides import build_slides, enlarge_figure, trim_table
from dashboard.state.choice import CheckpointsView, Choice, LayersView
from dashboard.state.report_words import ReportWords
from dashboard.views.report.blocks import BLOCKS, find_block
from dashboard.wording import format_moment
from kslottery_core.corpora import CorpusSpec
from kslottery_core.demo import DEMO_PATH
from kslottery_core.scans import scan_parameters
from kslottery_core.studies import Measure, StudyRow, StudyTable
from kslottery_core.studies.quality import Quality
from kslottery_core.tickets import load_ticket

MOMENT = 1_780_000_000.0
DEMO_PAIR = PairChoice(str(DEMO_PATH / "before"), str(DEMO_PATH / "after"))


@pytest.fixture
def make_context(monkeypatch):
    """What a page would hand over: `make_context(Choice(...))`; a choice without a pair is the bundled demo."""
    monkeypatch.setattr(loaders, "DEMO_PATH", DEMO_PATH)

    def make(choice=None, *, text=None):
        choice = choice or Choice()
        pair = loaders.resolve_choice(choice.pair)
        comparison = None if pair is None else loaders.load_comparison(pair)
        selection = None if comparison is None else loaders.load_selection(comparison, choice.alpha)
        return ReportContext(choice, comparison, selection, MOMENT, lambda wanted: False, text)

    return make


def build(name, context):
    return find_block(name).build(context)


def read_table(table, column):
    return table.dataframe[column].tolist()


def test_every_block_without_its_data_says_in_one_sentence_what_to_do(tmp_path):
    context = ReportContext(Choice(), None, None, MOMENT, lambda wanted: False)
    for known in BLOCKS:
        block = known.build(context)
        assert block.title == known.title
        assert not (block.paragraphs or block.pictures or block.tables), known.name
        assert block.problem.endswith("."), known.name
        assert block.problem.count(". ") == 0, known.name
        assert " page" in block.problem, known.name


def test_names_of_blocks_are_distinct_and_fit_an_address():
    names = [block.name for block in BLOCKS]
    assert len(set(names)) == len(names)
    assert all(name.isalpha() and name.islower() and name != "none" for name in names)


def test_the_pair_block_of_the_demo_says_what_was_compared(make_context):
    block = build("pair", make_context())
    ticket = load_ticket(DEMO_PATH / "ticket.json")
    assert block.paragraphs[0] == "2,048 tokens compared, 128 coordinates a row; 720 rows changed (35.2 %)."
    assert block.paragraphs[1].startswith("The largest D is 0.3047, of token Translate (354).")
    (table,) = block.tables
    fingerprints = [ticket.fingerprint_before, ticket.fingerprint_after]
    assert read_table(table, "Fingerprint") == fingerprints
    shown = render_table(table, caption="", most_rows=2)
    assert all(f">{digest[:12]}<" in shown and digest not in shown for digest in fingerprints)
    assert (
        block.signature
        == f"before fingerprint {ticket.fingerprint_before[:12]}, after fingerprint {ticket.fingerprint_after[:12]}"
    )


def test_the_ticket_block_of_the_demo_holds_the_tokens_of_its_file(make_context):
    block = build("ticket", make_context())
    ticket = load_ticket(DEMO_PATH / "ticket.json")
    (table,) = block.tables
    assert sorted(read_table(table, "Id")) == list(ticket.token_ids)
    assert read_table(table, "Token") == ["Translate", "English", "Catalan", "␣espera"]
    assert read_table(table, "D") == [39 / 128, 36 / 128, 36 / 128, 23 / 128]
    assert block.paragraphs[0] == (
        "By the rule “α = 0.05”, 4 tokens of 2,048 win (0.195 %). A token wins from D = 0.1719 on, which is 22 of 128 "
        "coordinates."
    )
    assert "not calibrated" in " ".join(block.paragraphs)
    assert block.signature.endswith("α = 0.05")


def test_the_ticket_block_goes_by_the_number_of_tokens_too(make_context):
    block = build("ticket", make_context(Choice(alpha=AlphaChoice(top_k=2))))
    assert read_table(block.tables[0], "Token") == ["Translate", "English"]
    assert block.paragraphs[0] == (
        "By the rule “the 2 tokens with the largest D”, 2 tokens of 2,048 win (0.0977 %). 2 tokens have D = 0.2813; "
        "only the "
        "1 of them with the larger L2 shift is in the ticket."
    )
    (picture,) = build("threshold", make_context(Choice(alpha=AlphaChoice(top_k=2)))).pictures
    assert "2 tokens have D = 0.2813; only the 1 of them" in picture.caption
    assert "The picture shows all of them as winners." in picture.caption
    three = build("ticket", make_context(Choice(alpha=AlphaChoice(top_k=3))))
    assert "A token wins from D = 0.2813 on" in three.paragraphs[0]


def test_an_empty_ticket_is_an_answer_and_no_problem(make_context):
    block = build("ticket", make_context(Choice(alpha=AlphaChoice(1e-12))))
    assert block.problem is None
    assert block.tables == ()
    assert block.paragraphs[0] == "By the rule “α = 1e-12”, 0 tokens of 2,048 win (0 %)."


def test_the_curve_marks_what_alpha_gives_even_where_the_ticket_goes_by_a_number(make_context):
    by_number = Choice(alpha=AlphaChoice(top_k=100))
    for choice in (Choice(), by_number):
        (picture,) = build("curve", make_context(choice)).pictures
        marked = picture.figure.data[-1]
        assert (marked.x[0], marked.y[0]) == (0.05, 4)
        assert picture.signature.endswith("α = 0.05")
    assert build("threshold", make_context(by_number)).signature.endswith("the 100 tokens with the largest D")


def test_the_threshold_block_says_how_many_tokens_are_left_out(make_context):
    (picture,) = build("threshold", make_context()).pictures
    assert "1,328 tokens whose row did not change at all are left out." in picture.caption
    winners = next(trace for trace in picture.figure.data if trace.name == "Winners")
    assert sum(winners.y) == 4


def test_a_pair_without_a_change_has_no_curve(make_context):
    same = Choice(pair=PairChoice(DEMO_PAIR.before, DEMO_PAIR.before))
    for name in ("curve", "threshold"):
        assert "No row differs" in build(name, make_context(same)).problem


def test_the_map_counts_every_token_and_draws_winners_as_points(make_context):
    (picture,) = build("map", make_context()).pictures
    heat, winners = picture.figure.data
    assert heat.customdata.sum() == 2044
    assert winners.text == ("Translate", "English", "", "␣espera"), "Catalan lies close to English"
    assert sorted(token_id for _, token_id, *_ in winners.customdata) == list(
        load_ticket(DEMO_PATH / "ticket.json").token_ids
    )
    assert picture.caption.startswith("2,048 tokens drawn; across: L2 shift, up: D."), "no text, so no frequency"
    text = CorpusSpec(str(DEMO_PATH / "text" / "test.jsonl"), "en", "ca")
    counted = build("map", make_context(text=text))
    assert counted.pictures[0].caption.startswith("2,048 tokens drawn; across: Frequency in training, up: D.")
    assert "text test.jsonl " in counted.signature
    missing = build("map", make_context(text=CorpusSpec("/no/such/text.jsonl")))
    assert "/no/such/text.jsonl" in missing.problem


def test_the_map_draws_no_more_points_than_a_file_can_take(make_context, monkeypatch):
    monkeypatch.setattr("dashboard.views.tokens.report_block._MOST_POINTS", 2)
    (picture,) = build("map", make_context()).pictures
    assert [label for label, *_ in picture.figure.data[1].customdata] == ["Translate", "English"]
    assert (
        "Of 4 winners only the 2 with the largest D are drawn as points, the others are in the shade."
        in picture.caption
    )
    assert picture.figure.data[1].name == "2 of 4 winners drawn"


def test_the_token_block_draws_what_is_picked_and_lists_the_rest(make_context):
    block = build("tokens", make_context(Choice(token_ids=(302, 354, 999_999))))
    assert [picture.caption.split(":")[0] for picture in block.pictures] == [
        "English (token 302)",
        "English (token 302)",
        "Translate (token 354)",
        "Translate (token 354)",
    ]
    assert read_table(block.tables[0], "In the ticket") == [True, True]
    assert read_table(block.tables[0], "D") == [36 / 128, 39 / 128]
    many = build("tokens", make_context(Choice(token_ids=tuple(range(300, 309)))))
    assert len(many.pictures) == 12
    assert len(many.tables[0].dataframe) == 9
    assert "The first 6 of 9 picked tokens" in many.paragraphs[-1]


def test_the_layer_block_takes_a_kept_scan_and_starts_none(make_context, home):
    context = make_context()
    assert "has not been scanned" in build("layers", context).problem
    assert not (home / "scans").exists()
    plan = plan_scan(DEMO_PAIR, "row", "*")
    scan_parameters(DEMO_PAIR.before, DEMO_PAIR.after, plan.folder)
    block = build("layers", context)
    assert block.paragraphs[0].startswith("30 of 30 matrices compared, 1 changed; 4 of ")
    assert sum(read_table(block.tables[0], "Winners")) == 4
    assert block.signature.startswith("scan ")
    by_number = make_context(Choice(alpha=AlphaChoice(top_k=100)))
    assert build("layers", by_number).signature.endswith("α = 0.05")
    assert "has not been scanned" in build("layers", make_context(Choice(layers=LayersView(unit="column")))).problem


def test_nothing_is_looked_up_on_the_hub_without_a_word(make_context, monkeypatch):
    choice = Choice(
        pair=PairChoice("someone/before", "someone/after"), checkpoints=CheckpointsView(("someone/a", "someone/b"))
    )
    asked = []
    context = ReportContext(choice, None, None, MOMENT, lambda wanted: bool(asked.append(wanted)))
    monkeypatch.setattr("dashboard.views.layers.report_block.plan_scan", lambda *how: pytest.fail("it would be opened"))
    monkeypatch.setattr("dashboard.views.checkpoints.report_block.load_kept_series", lambda *how: pytest.fail("opened"))
    assert "asks to fetch" in build("layers", context).problem
    assert "asks to fetch" in build("checkpoints", context).problem
    assert asked == [(choice.pair, "all weights"), ("someone/before", None, ("someone/a", "someone/b"))]


def test_the_checkpoint_block_takes_a_kept_series_and_compares_none(make_context, home):
    choice = Choice(checkpoints=CheckpointsView((str(DEMO_PATH / "series"),)))
    sources = expand_sources(choice.checkpoints.sources)
    assert load_kept_series(DEMO_PAIR, sources) is None
    assert "has not been compared" in build("checkpoints", make_context(choice)).problem
    assert not list((home / "cache").glob("series-*"))
    load_series(DEMO_PAIR, sources)
    block = build("checkpoints", make_context(choice))
    assert block.paragraphs[0].startswith("3 of 2,048 tokens win in all 5 checkpoints;")
    assert len(block.pictures) == 3
    assert [len(table.dataframe) for table in block.tables] == [5, 10]
    assert sorted(read_table(block.tables[0], "Winners")) == [3, 3, 4, 5, 8]
    edited = {source: (f"Mine {place}", 7 * (place + 1)) for place, source in enumerate(sources)}
    named = build("checkpoints", dataclasses.replace(make_context(choice), checkpoint_names=edited))
    assert read_table(named.tables[0], "Label") == [f"Mine {place}" for place in range(5)]
    assert read_table(named.tables[0], "Step") == [7, 14, 21, 28, 35]
    assert "Mine 0" in named.pictures[0].figure.to_json()
    assert sorted({x for line in named.pictures[2].figure.data for x in line.x or () if x}) == [7, 14, 21, 28, 35]
    loaders.st.cache_resource.clear()
    assert load_kept_series(DEMO_PAIR, sources).found.results[0].width == 128, "from the disk, after a restart"


def test_runs_stand_in_groups_of_the_same_test_with_their_signatures(make_context, save_run, make_score):
    save_run("one", scores=[make_score(20.0)], name="First")
    save_run("two", scores=[make_score(30.0)], name="Second")
    save_run("three", scores=[make_score(40.0, signature="nrefs:1|tok:none")], name="Third")
    save_run("four", scores=[make_score(50.0, test_set_hash="t2")], name="Fourth")
    runs = loaders.load_run_store().list()
    demo = {record.run_id for record in runs} - {"one", "two", "three", "four"}
    assert len(demo) == 7
    context = make_context(Choice(compared_runs=("one", "two", "three", "four")))
    block = build("comparison", context)
    drawn = [sorted(picture.figure.data[0].y) for picture in block.pictures]
    assert sorted(drawn) == [["First", "Second"], ["Fourth"], ["Third"]]
    by_runs = {tuple(sorted(picture.figure.data[0].y)): picture.signature for picture in block.pictures}
    assert by_runs[("Third",)].startswith(
        "nrefs:1|tok:none; decoding greedy, prompt fingerprint p1, test text fingerprint t1"
    )
    assert by_runs[("Fourth",)].endswith("test text fingerprint t2")
    assert "must not be ranked together" in block.paragraphs[1]
    scores = block.tables[0].dataframe
    assert dict(zip(scores["Run"], scores["BLEU, whole output"], strict=True)) == {
        "First": 20.0,
        "Second": 30.0,
        "Third": 40.0,
    }
    assert scores["Ticket (tokens)"].tolist() == ["none"] * 3


@pytest.fixture
def study(monkeypatch):
    """A study of two arms and two measures of one name, which were not made in the same way."""
    measures = [
        Measure("BLEU", "whole output", signature, "greedy", "p" * 20, "t" * 20, 200, "en-ca")
        for signature in ("nrefs:1|tok:13a", "nrefs:1|tok:none")
    ]

    def make_row(label, scores, **fields):
        quality = tuple(
            Quality(measure, mean, mean - 1, mean + 1, (mean,), (1,), "an interval")
            for measure, mean in zip(measures, scores, strict=True)
            if mean is not None
        )
        return StudyRow(label, "ticket", "en-ca", None, 10, (1,), 1, quality=quality, run_ids=("r",), **fields)

    rows = (
        make_row("Few rows", (40.0, None), trained_parameters=512, total_seconds=20.0, ticket_size=4),
        make_row("All rows", (50.0, 60.0), trained_parameters=4096, total_seconds=10.0),
        StudyRow("Not begun", "base", "en-ca", None, None, (), 1),
    )
    record = SimpleNamespace(study_id="s", name="My study", status=SimpleNamespace(state="finished", created=MOMENT))
    store = SimpleNamespace(list=lambda: (record,))
    monkeypatch.setattr("dashboard.views.studies.report_block.load_study_store", lambda: store)
    monkeypatch.setattr(
        "dashboard.views.studies.report_block.load_study_table", lambda found: StudyTable(rows, tuple(measures))
    )
    return record


def test_the_study_block_keeps_scores_of_different_rules_apart(make_context, study):
    block = build("study", make_context())
    assert block.paragraphs[0].startswith(f"My study, en-ca: finished, begun {format_moment(MOMENT)}.")
    assert "they stand apart" in block.paragraphs[1]
    assert [picture.signature.split(";")[0] for picture in block.pictures] == ["nrefs:1|tok:13a", "nrefs:1|tok:none"]
    assert block.pictures[0].signature.endswith(
        "decoding greedy, prompt fingerprint pppppppppppp, test text fingerprint tttttttttttt, 200 sentences"
    )
    first, second = (table.dataframe for table in block.tables)
    assert first["Arm"].tolist() == ["Few rows", "All rows"]
    assert first["BLEU, whole output"].tolist() == [40.0, 50.0]
    assert first["Interval"].tolist() == ["39.0 to 41.0", "49.0 to 51.0"]
    assert first["Learning rate"].tolist() == ["none", "none"]
    assert second["Arm"].tolist() == ["All rows"]


def test_pictures_and_tables_state_their_signature_and_the_date(make_context):
    block = sign_block(build("curve", make_context()), "drawn today")
    (picture,) = block.pictures
    assert picture.signature.endswith("α = 0.05; drawn today")
    assert "drawn today" in picture.figure.layout.title.text
    table = sign_block(build("ticket", make_context()), "drawn today").tables[0]
    assert table.signature.endswith("α = 0.05; drawn today")


def test_small_print_is_only_text(make_context):
    picture = dataclasses.replace(build("curve", make_context()).pictures[0], signature="<a href='x'>&" + "y " * 100)
    (signed,) = sign_block(Block("Title", pictures=(picture,)), "").pictures
    text = signed.figure.layout.title.text
    assert "&lt;a href='x'&gt;&amp;" in text
    assert text.count("<br>") == 1
    assert "<a" not in text


def test_all_blocks_with_something_to_show_or_just_the_chosen_ones(make_context):
    context = make_context(Choice(token_ids=(302,)))
    words = ReportWords("Me", {"pair": ("before", ""), "layers": ("", "after")})
    report = build_report(context, BLOCKS, "", words, leave_out_empty=True)
    assert [section.name for section in report.sections] == [
        "pair",
        "ticket",
        "curve",
        "threshold",
        "map",
        "tokens",
        "comparison",
    ]
    assert report.title == "KS-Lottery report: the bundled demo"
    chosen = build_report(context, [find_block("layers"), find_block("pair")], "A title", words)
    assert [(section.name, section.before, section.after) for section in chosen.sections] == [
        ("layers", "", "after"),
        ("pair", "before", ""),
    ]
    assert chosen.sections[0].block.problem is not None
    assert (chosen.title, chosen.author) == ("A title", "Me")


def test_each_picture_is_a_slide_and_words_stand_at_their_ends(make_context):
    context = make_context(Choice(token_ids=(302,)))
    words = ReportWords("Me", {"tokens": ("first", "last"), "pair": ("both", "sides")})
    chosen = [find_block(name) for name in ("pair", "tokens", "layers")]
    slides = build_slides(build_report(context, chosen, "Title", words))
    assert [(slide.title, slide.words) for slide in slides] == [
        ("Title", ""),
        ("What was compared", "both\n\nsides"),
        ("Picked tokens: English (token 302)", "first"),
        ("Picked tokens: English (token 302)", "last"),
        ("Layer by matrix", ""),
    ]
    assert slides[0].paragraphs == ("Me", format_moment(MOMENT))
    assert [slide.picture is not None for slide in slides] == [False, False, True, True, False]
    assert slides[1].table is not None
    assert "has not been scanned" in slides[4].problem


def test_a_slide_has_large_type_and_no_height_of_its_own(make_context):
    figure = build_report(make_context(), [find_block("curve")], "", ReportWords()).sections[0].block.pictures[0].figure
    large = enlarge_figure(figure)
    assert large.layout.height is None
    assert figure.layout.height is not None, "the report's own picture stays as it was"
    sizes = {large.layout.xaxis.tickfont.size, large.layout.yaxis.title.font.size, large.layout.legend.font.size}
    assert sizes == {22}
    assert large.data[-1].textfont.size == 22
    assert large.layout.yaxis.title.text == figure.layout.yaxis.title.text
    figure.update_yaxes(title_text="D, the largest gap between the values before and after")
    assert enlarge_figure(figure).layout.yaxis.title.text == "D, the largest gap between the values<br>before and after"


def test_a_slide_takes_a_few_rows_and_says_so(make_context):
    block = build("ticket", make_context(Choice(alpha=AlphaChoice(0.5))))
    table, note = trim_table(block.tables[0])
    assert (len(table.dataframe), note) == (8, "the first 8 of 105 rows")
    assert trim_table(build("ticket", make_context()).tables[0])[1] == ""


def test_a_picture_keeps_its_own_signature_beside_that_of_its_block(make_context):
    figure = build("curve", make_context()).pictures[0].figure
    block = Block("T", pictures=(Picture(figure, "alt", "caption", "its own"),), signature="the block's")
    assert sign_block(block, "now").pictures[0].signature == "its own; now"
    assert sign_block(block, "now").signature == "the block's; now"
