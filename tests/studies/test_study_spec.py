import json

import pytest

from kslottery_core.corpora import CorpusSpec
from kslottery_core.errors import CorpusError, KSLotteryError, RunError, StudyError
from kslottery_core.studies import RowRule, StudyArm, StudySpec, StudyText, list_cells
from kslottery_core.tickets import Ticket
from kslottery_core.tuning.settings import LoraSettings

KS = RowRule("ks", significance_level=0.05)
BASE, EMBEDDING = StudyArm("base", "base"), StudyArm("embedding", "embedding")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ()}, "arms: expected at least one, found none"),
        ({"texts": ()}, "texts: expected at least one"),
        ({"seeds": ()}, "seeds: expected at least one"),
        ({"steps": ()}, "steps: expected at least one"),
        ({"arms": (BASE, BASE)}, "labels of the arms: .* found 'base' repeated"),
        ({"seeds": (1, 2, 1)}, "seeds: .* found 1 repeated"),
        ({"steps": (5, 5)}, "steps: .* found 5 repeated"),
        ({"seeds": (-1,)}, "seeds: expected whole numbers from 0"),
        ({"steps": (0,)}, "steps: expected whole numbers of at least 1, found 0"),
        ({"name": " "}, "name: expected one line of 1 to 60 characters"),
        (
            {"arms": (BASE, StudyArm("rows", "ticket", KS))},
            r"'rows': it chooses rows by .* none .*\(method 'embedding'\)",
        ),
        ({"arms": (StudyArm("copy", "transfer", RowRule("random", count=2)),)}, "'copy': it copies rows from"),
        (
            {"arms": (EMBEDDING, StudyArm("f", "ticket", RowRule("frequent")))},
            r"'f': its rows are as many .* KS test .* \(count\)",
        ),
        (
            {"arms": (EMBEDDING, StudyArm("m", "ticket", RowRule("matched")))},
            "as frequent as .* KS test .* a ticket to match",
        ),
    ],
)
def test_a_grid_that_cannot_run_is_refused_at_once(make_study, changes, message):
    with pytest.raises(StudyError, match=message):
        make_study(**changes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rule": "nice"}, "expected a rule among ks, frequent"),
        (
            {"rule": "ks"},
            r"rows that win the KS test \(rule 'ks'\): .* \(significance_level\) or .* \(top_k\), found neither",
        ),
        ({"rule": "ks", "significance_level": 0.1, "top_k": 3}, "found both"),
        ({"rule": "ks", "significance_level": 1.0}, r"an alpha \(significance_level\) above 0 and below 1, found 1.0"),
        (
            {"rule": "ks", "significance_level": 0.1, "correction": "some"},
            r"a correction for many tests \(correction\) among none",
        ),
        ({"rule": "ks", "top_k": 3, "correction": "holm"}, "leave it out"),
        ({"rule": "ks", "top_k": 0}, r"a number of largest D \(top_k\) of at least 1, found 0"),
        ({"rule": "random", "count": 0}, r"random rows .*a number of rows \(count\) of at least 1, found 0"),
        ({"rule": "random", "top_k": 3}, r"\(top_k\) belongs to rows that win the KS test \('ks'\)"),
        (
            {"rule": "ks", "significance_level": 0.1, "count": 3},
            r"\(count\) belongs to most frequent rows \('frequent'\) and random rows",
        ),
        ({"rule": "frequent", "count": 3, "counted": "words"}, r"what is counted \(counted\) among training, text"),
        ({"rule": "random", "count": 3, "counted": "training"}, r"\(counted\) belongs to most frequent rows"),
        ({"rule": "prompt", "correction": "holm"}, r"\(correction\) belongs to rows that win the KS test"),
        ({"rule": "ticket"}, r"expected a ticket \(ticket\), found none"),
        ({"rule": "ticket", "ticket": Ticket((), 10, "list")}, "at least one token, found an empty one"),
    ],
)
def test_a_rule_without_sense_is_refused(fields, message):
    with pytest.raises(StudyError, match=message):
        RowRule(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"label": "", "method": "base"}, "label: expected one line"),
        ({"label": "a", "method": "best"}, "expected a method among base"),
        ({"label": "a", "method": "ticket"}, "'ticket' needs rows, found no rule"),
        ({"label": "a", "method": "full", "rows": KS}, "'full' has no rows"),
        ({"label": "a", "method": "base", "learning_rates": (0.1,)}, "trains nothing"),
        ({"label": "a", "method": "full", "learning_rates": (0.1, 0.0)}, "learning rates above 0, found 0.0"),
        ({"label": "a", "method": "full", "learning_rates": (-0.1,)}, "learning rates above 0, found -0.1"),
        ({"label": "a", "method": "full", "learning_rates": (0.1, 0.1)}, "found 0.1 repeated"),
        ({"label": "a", "method": "full", "lora": LoraSettings()}, "'full' has no lora"),
    ],
)
def test_an_arm_without_sense_is_refused(fields, message):
    with pytest.raises(StudyError, match=message):
        StudyArm(**fields)


def test_texts_and_other_fields_are_judged_by_who_owns_them(make_study):
    with pytest.raises(StudyError, match="one language pair for training and test, found en-ca and en-es"):
        StudyText(CorpusSpec("a", "en", "ca"), CorpusSpec("b", "en", "es"))
    with pytest.raises(StudyError, match=r"language pairs of the texts: .*'en-ca' repeated"):
        make_study(texts=(make_study.text(), make_study.text()))
    with pytest.raises(RunError, match="device: expected auto"):
        make_study(device="abacus")
    with pytest.raises(CorpusError, match="source"):
        make_study(prompt="no place for a sentence")


def test_a_study_is_the_same_when_it_is_read_again(make_study):
    ticket = Ticket((3, 5), 64, "list")
    spec = make_study(
        arms=(EMBEDDING, StudyArm("given", "ticket", RowRule("ticket", ticket=ticket), (0.1, 0.2))), seeds=(1, 2)
    )
    assert StudySpec.from_json(json.loads(json.dumps(spec.to_json())), "study.json") == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "expected a study of version 1 or older, found version 2"),
        ({"version": "new"}, "found version 'new'"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"steps": "many"}, "field 'steps'"),
    ],
)
def test_a_description_of_a_newer_or_foreign_form_is_refused(make_study, change, message):
    with pytest.raises(KSLotteryError, match=message):
        StudySpec.from_json({**make_study().to_json(), **change}, "study.json")


def test_something_else_than_a_description_is_refused():
    with pytest.raises(StudyError, match="expected a JSON object"):
        StudySpec.from_json([1, 2], "study.json")


def test_an_axis_that_does_not_concern_a_method_repeats_no_cell(make_study):
    spec = make_study(
        arms=(BASE, EMBEDDING, StudyArm("full", "full", learning_rates=(0.1, 0.2)), StudyArm("copy", "transfer", KS)),
        texts=(make_study.text("ca"), make_study.text("es")),
        seeds=(1, 2),
        steps=(3, 4),
    )
    cells = list_cells(spec)
    by_arm = [sum(cell.arm == arm for cell in cells) for arm in range(4)]
    assert by_arm == [2, 2 * 2 * 2, 2 * 2 * 2 * 2, 2 * 2 * 2]
    assert len({cell.key for cell in cells}) == len(cells)
    assert {(cell.seed, cell.steps, cell.learning_rate) for cell in cells if cell.arm == 0} == {(None, None, None)}
    assert {cell.learning_rate for cell in cells if cell.arm == 3} == {None}


def test_the_first_seed_of_every_arm_comes_before_any_second(make_study):
    cells = list_cells(make_study(seeds=(7, 5)))
    assert [cell.seed for cell in cells] == [None, 7, 7, 5, 5]


def test_a_cell_comes_after_the_embedding_tuning_of_its_own_text_seed_and_steps(make_study):
    arms = (
        StudyArm("rows", "ticket", KS, (0.1, 0.2)),
        BASE,
        StudyArm("embedding", "embedding", learning_rates=(0.3, 0.4)),
    )
    cells = list_cells(
        make_study(arms=arms, texts=(make_study.text("ca"), make_study.text("es")), seeds=(1, 2), steps=(3, 4))
    )
    keys = [cell.key for cell in cells]
    for position, cell in enumerate(cells):
        if cell.arm == 0:
            assert cell.needs in keys[:position]
            needed = cells[keys.index(cell.needs)]
            assert (needed.arm, needed.learning_rate) == (2, 0.3)
            assert (needed.text, needed.seed, needed.steps) == (cell.text, cell.seed, cell.steps)
        else:
            assert cell.needs is None
    assert cells[0].arm == 1


def test_a_record_that_does_not_say_what_is_counted_counted_the_text_alone(make_study):
    arms = (EMBEDDING, StudyArm("f", "ticket", RowRule("frequent", count=3, counted="training")))
    mapping = json.loads(json.dumps(make_study(arms=arms).to_json()))
    assert StudySpec.from_json(mapping, "study.json").arms[1].rows.counted == "training"
    del mapping["arms"][1]["rows"]["counted"]
    assert StudySpec.from_json(mapping, "study.json").arms[1].rows.counted == "text"
