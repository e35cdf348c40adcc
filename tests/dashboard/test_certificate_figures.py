from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from dashboard.views.certificates.figures import (
    certificate_curve_figure,
    find_least_certifying_level,
    list_points,
    margin_figure,
    summarise_certificates,
    summarise_margins,
)
from dashboard.views.certificates.sentence_figure import (
    VERDICT_SIGNS,
    sentence_figure,
    summarise_sentence,
    summarise_sentences,
)
from kslottery_core.certification import (
    LEVELS,
    Certification,
    CertificationTask,
    LevelCounts,
    PredictedSequence,
    SentenceRecord,
    SideFingerprints,
    Tally,
    TicketPoint,
    TokenRecord,
)
from kslottery_core.corpora import CorpusSpec
from kslottery_core.tickets import Ticket

EXACT, BOUND = (level.name for level in LEVELS[:2])
HOSTILE = '<script>alert("x")</script>&amp;'


def make_tally(total, agreed, exact, bound, violations=0):
    """`exact` and `bound` are (certified, correct); further levels, if any, repeat the bound."""
    counts = {EXACT: LevelCounts(EXACT, *exact, 0)}
    counts |= {level.name: LevelCounts(level.name, *bound, violations) for level in LEVELS[1:]}
    return Tally(total, agreed, total - 1, agreed - 1, 0, tuple(counts[level.name] for level in LEVELS))


def make_point(level, size, predictions, outputs=None):
    outputs = outputs or make_tally(2, 2, (0, 0), (0, 0))
    return TicketPoint(level, size, 9 - size, predictions, outputs, None, dict.fromkeys((EXACT, BOUND), 0))


@pytest.fixture
def certification():
    """Ten predictions, width 10; alpha 0.1 and 0.9 on the grid, 0.5 chosen, where one of four certified is violated."""
    ticket = Ticket((3, 4), 8, "alpha", significance_level=0.5, correction="none", p_value_method="exact")
    # Positions 2 to 4: margins .9, .3 and .2; bounds 0, .2 and .4; the second violated, the third not certified.
    sequence = PredictedSequence(
        token_ids=(3, 5, 4, 6, 7),
        start=2,
        predicted=(4, 6, 6),
        partial_predicted=(4, 7, 7),
        first_probabilities=(0.95, 0.6, 0.5),
        second_probabilities=(0.05, 0.3, 0.3),
        left_behind=(0, 1, 2),
        counts=(0, 1, 2),
        levels={level.name: (2,) if level.name == EXACT else (2, 3) for level in LEVELS},
    )
    other = replace(sequence, partial_predicted=(4, 6, 6), first_probabilities=(0.95, 0.6, 0.31))
    sentences = tuple(
        SentenceRecord(source, "<b>", "output", True, found, found)
        for source, found in (("first", other), ("second", sequence))
    )
    roles = {3: "ticket", 4: "ticket", 5: "left_behind", 6: "left_behind", 7: "unchanged"}
    labels = {3: "Translate", 4: "↵", 5: HOSTILE, 6: "␣casa", 7: "</s>"}
    sides = SideFingerprints("a" * 64, "b" * 64)
    return Certification(
        task=CertificationTask("/before", "/after", ticket, CorpusSpec("/text.jsonl")),
        before=sides,
        after=sides,
        corpus_fingerprint="c",
        inputs_fingerprint="i",
        prompt="{source}",
        prompt_hash="p",
        decoding="greedy",
        width=10,
        vocabulary_size=8,
        changed_rows=4,
        levels=LEVELS,
        statement="none",
        chosen=make_point(0.5, 2, make_tally(10, 6, (1, 1), (4, 3), violations=1)),
        grid=(
            make_point(0.1, 0, make_tally(10, 5, (0, 0), (0, 0))),
            make_point(0.9, 4, make_tally(10, 10, (10, 9), (10, 9)), make_tally(2, 2, (1, 1), (2, 1))),
        ),
        tokens=tuple(TokenRecord(token_id, labels[token_id], role, 1) for token_id, role in roles.items()),
        sentences=sentences,
        device="cpu",
        versions={},
        seconds=1.0,
        distinct_tickets=3,
    )


def test_the_curve_has_the_shares_of_every_alpha_with_the_chosen_one_in_its_place(certification):
    curve = summarise_certificates(certification, "predictions")
    np.testing.assert_array_equal(curve.significance_levels, [0.1, 0.5, 0.9])
    np.testing.assert_array_equal(curve.ticket_sizes, [0, 2, 4])
    shares = {line.name: line.shares.tolist() for line in curve.lines}
    assert shares["Certified: exact"] == [0, 0.1, 1]
    assert shares["Certified: KS bound"] == [0, 0.4, 1]
    assert shares["Agreement, measured"] == [0.5, 0.6, 1]
    assert shares["Accuracy, embedding-tuned model"] == [0.9, 0.9, 0.9]
    assert shares["Accuracy, partial model"] == [0.4, 0.5, 0.9]
    (accuracy,) = [line for line in curve.lines if line.kind == "certified accuracy"]
    assert accuracy.shares.tolist() == [0, 0.3, 0.9]
    marks = [mark for mark in curve.violations if mark.title == "KS bound"]
    assert [(mark.significance_level, mark.share, mark.count) for mark in marks] == [(0.5, 0.4, 1)]
    outputs = summarise_certificates(certification, "outputs")
    assert {line.name: line.shares.tolist() for line in outputs.lines}["Certified: exact"] == [0, 0, 0.5]


def test_a_ticket_that_no_plain_alpha_chose_is_not_put_on_the_curve(certification):
    ticket = replace(certification.task.ticket, correction="holm")
    other = replace(certification, task=replace(certification.task, ticket=ticket))
    assert [point.significance_level for point in list_points(other)] == [0.1, 0.9]
    assert summarise_certificates(other, "predictions").chosen is None
    listed = replace(certification.task, ticket=Ticket((3,), 8, "list"))
    assert summarise_certificates(replace(certification, task=listed), "predictions").chosen is None


def test_the_least_alpha_that_certifies_anything_is_found(certification):
    assert find_least_certifying_level(certification, "predictions") == 0.5
    assert find_least_certifying_level(certification, "outputs") == 0.9
    nothing = replace(certification, grid=certification.grid[:1], chosen=certification.grid[0])
    assert find_least_certifying_level(nothing, "predictions") is None


@pytest.mark.parametrize("log_axis", [True, False])
def test_the_curve_marks_the_chosen_alpha_and_every_violation(certification, log_axis):
    figure = certificate_curve_figure(summarise_certificates(certification, "predictions"), log_axis=log_axis)
    expected = np.log10([0.1, 0.5, 0.9]) if log_axis else np.log10([1 / 9, 1, 9])
    np.testing.assert_allclose(figure.data[0].x, expected, atol=1e-12)
    (line,) = [trace for trace in figure.data if trace.name == "Chosen: α = 0.5"]
    assert list(line.x) == pytest.approx([expected[1]] * 2)
    (marks,) = [trace for trace in figure.data if trace.name == "Violations"]
    assert set(np.round(marks.x, 9)) == {np.round(expected[1], 9)}
    assert "1 certified (KS bound), yet different" in marks.customdata[0]
    ticks = dict(zip(figure.layout.xaxis.ticktext, figure.layout.xaxis.tickvals, strict=True))
    assert ticks["0.5"] == pytest.approx(expected[1])
    assert ("log-odds" in figure.layout.xaxis.title.text) is not log_axis
    assert figure.layout.yaxis.title.text == "Share of next-token predictions (%)"
    # Lines are told apart by more than colour: each has its own dash or symbol.
    looks = [(trace.line.dash, trace.marker.symbol) for trace in figure.data if trace.name != "Violations"]
    assert len(set(looks)) == len(looks)


def test_without_violations_there_is_no_such_entry_in_the_legend(certification):
    clean = replace(certification, chosen=certification.grid[0], grid=certification.grid)
    figure = certificate_curve_figure(summarise_certificates(clean, "predictions"))
    assert "Violations" not in [trace.name for trace in figure.data]


def test_margins_and_bounds_are_counted_in_shared_bins_with_an_edge_at_one():
    margins = np.array([0.5, 1.0, 0.02, 0.0, -0.1, np.nan, 1e-9])
    bounds = np.array([0.4, 2.0, 0.0, 5.0, 1.0, 3.0, 0.1])
    summary = summarise_margins(margins, bounds)
    at_one = int(np.flatnonzero(summary.edges == 1.0)[0])
    assert summary.margins.sum() == 4  # .5, 1, .02 and the tiny one, which stands in the first bin
    assert summary.margins[at_one:].sum() == 0
    assert summary.margins[0] == 1
    assert summary.bounds.sum() == 6
    assert summary.bounds[at_one:].sum() == 4
    assert (summary.without_bound, summary.tied, summary.undefined, summary.total) == (1, 2, 1, 7)
    assert summary.certain == 2  # .5 > .4 and .02 > 0
    assert summary.least_bound == 0
    assert summary.edges[0] <= 1e-3 < summary.edges[-1]
    np.testing.assert_allclose(np.diff(np.log10(summary.edges)), 1 / 15)


def test_the_margin_figure_shows_both_outlines_and_says_what_its_axes_are():
    figure = margin_figure(summarise_margins(np.array([0.5, 0.9]), np.array([0.2, 3.0])))
    assert [trace.name for trace in figure.data] == [
        "Margin: first choice minus second",
        "Bound: twice the sum of D left behind",
    ]
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.annotations[0].x == 0  # log10 of 1
    assert figure.layout.xaxis.title.text == "Margin, or bound, as a probability (log scale)"
    assert figure.layout.yaxis.title.text == "Next-token predictions"
    assert max(figure.data[0].y) == 1


def test_predictions_of_nothing_left_behind_alone_make_a_picture():
    summary = summarise_margins(np.array([1.0, 0.5]), np.zeros(2))
    assert (summary.bounds.sum(), summary.without_bound, summary.certain) == (0, 2, 2)
    assert len(margin_figure(summary).data) == 2


def test_sentences_are_numbered_with_what_they_are_chosen_by(certification):
    first, second = summarise_sentences(certification, "reference")
    assert (first.number, first.predictions, first.certified, first.violations) == (1, 3, 2, 0)
    assert first.spare == pytest.approx(0.01 - 0.4)
    assert (second.number, second.certified, second.violations) == (2, 2, 1)
    assert second.spare == pytest.approx(0.2 - 0.4)


def test_a_sentence_tells_role_margin_bound_and_verdict_of_every_prediction(certification):
    story = summarise_sentence(certification, 2, "reference")
    assert [(token.label, token.role) for token in story.prompt] == [("Translate", "ticket"), (HOSTILE, "left_behind")]
    assert [shown.verdict for shown in story.predictions] == ["certified", "violation", "open"]
    assert [shown.level for shown in story.predictions] == ["exact", "KS bound", None]
    assert [shown.bound for shown in story.predictions] == pytest.approx([0, 0.2, 0.4])
    assert [shown.margin for shown in story.predictions] == pytest.approx([0.9, 0.3, 0.2])
    assert [shown.partial for shown in story.predictions] == ["↵", "</s>", "</s>"]


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_the_drawn_sentence_escapes_every_text(certification):
    page = Elements(sentence_figure(summarise_sentence(certification, 2, "reference")))
    assert {tag for tag, _ in page.found} <= {"style", "div", "p", "span", "bdi", "i", "br"}
    assert HOSTILE in page.text
    assert "</s>" in page.text


def test_the_drawn_sentence_shows_roles_verdicts_margins_and_bounds_by_more_than_colour(certification):
    html = sentence_figure(summarise_sentence(certification, 2, "reference"))
    page = Elements(html)
    cells = [attrs for tag, attrs in page.found if tag == "div" and "ksc-cell " in attrs.get("class", "")]
    assert [cell["class"].split("ksc-is-")[1] for cell in cells] == ["certified", "violation", "open"]
    assert "a violation" in cells[1]["title"]
    after_legend = html[html.index('class="ksc-prompt"') :]
    drawn = Elements(after_legend)
    assert [text for text in drawn.text if text[0] in VERDICT_SIGNS.values()] == [
        "✓ exact",
        "✕ KS bound",
        "○ not certified",
    ]
    assert [text for text in drawn.text if "|" in text] == ["0.90 | 0.00", "0.30 | 0.20", "0.20 | 0.40"]
    assert [attrs["style"] for _, attrs in drawn.found if attrs.get("class") == "ksc-margin"] == [
        "width:90.0%",
        "width:30.0%",
        "width:20.0%",
    ]
    bounds = [attrs["style"] for _, attrs in drawn.found if attrs.get("class") == "ksc-bound"]
    assert bounds == ["left:20.0%", "left:40.0%"]
    for role, kind in (("ticket", "solid"), ("left_behind", "dashed"), ("unchanged", "dotted")):
        style = html[html.index(f".ksc-{role} {{") :].split("}")[0]
        assert f"border-bottom: 3px {kind}" in style


def test_a_bound_beyond_one_is_drawn_at_the_end_and_marked(certification):
    story = summarise_sentence(certification, 2, "reference")
    far = replace(story, predictions=(replace(story.predictions[2], bound=3.5, margin=None),))
    page = Elements(sentence_figure(far).split("ksc-prompt", 2)[-1])
    assert any("not defined | 3.50 ▸" in text for text in page.text)
    assert [attrs["style"] for _, attrs in page.found if attrs.get("class") == "ksc-bound"] == ["left:100.0%"]
