import csv
import dataclasses
import io
import json
import shutil

import pytest

from kslottery_core.errors import KSInputError, StudyError
from kslottery_core.evaluation import EXTRACTIONS
from kslottery_core.records import load_json, save_json
from kslottery_core.studies import (
    Measure,
    Quality,
    RowRule,
    StudyArm,
    StudyRow,
    StudyTable,
    compute_comparisons,
    compute_study_table,
    compute_ticket_sizes,
    find_pareto,
    format_study_csv,
)

KS = RowRule("ks", significance_level=0.05)
BASE, EMBEDDING = StudyArm("base", "base"), StudyArm("embedding", "embedding")
KS_ROWS = StudyArm("KS rows", "ticket", KS)


@pytest.fixture
def tabulate(study_store):
    def compute(record, **options):
        return compute_study_table(study_store.get(record.study_id), study_store.run_store, **options)

    return compute


def change_result(study_store, run_id, **changes):
    path = study_store.run_store.root / run_id / "result.json"
    save_json(path, {**load_json(path), **changes})


def get_row(table, label, **fields):
    found = [row for row in table.rows if row.label == label]
    (row,) = [row for row in found if all(getattr(row, name) == value for name, value in fields.items())]
    return row


def read_texts(run, extraction):
    outputs = run.read_outputs()
    return [EXTRACTIONS[extraction](o["text"]) for o in outputs], [o["reference"] for o in outputs]


def test_a_single_run_has_the_interval_that_sacrebleu_gives(study_store, make_study, perform, tabulate):
    from sacrebleu.metrics.bleu import BLEU

    record = perform(make_study(arms=(BASE,)))
    table = tabulate(record)
    run = study_store.run_store.get(record.cells[0].run_id)
    assert {measure.extraction for measure in table.measures} == set(EXTRACTIONS)
    for quality in table.rows[0].quality:
        texts, references = read_texts(run, quality.extraction)
        oracle = BLEU().corpus_score(texts, [references], n_bootstrap=1000)
        assert quality.mean == pytest.approx(oracle.score) and quality.per_seed == (quality.mean,)
        assert quality.low == pytest.approx(max(0, oracle._mean - oracle._ci))
        assert quality.high == pytest.approx(min(100, oracle._mean + oracle._ci))
        assert quality.low < quality.high
        assert quality.interval_kind == "95% bootstrap over sentences"
    first, second = (row.mean for row in table.rows[0].quality)
    assert first != second


def test_several_seeds_have_their_mean_and_their_range(study_store, make_study, perform, tabulate):
    record = perform(make_study(arms=(BASE, EMBEDDING), seeds=(3, 4, 5)))
    row = get_row(tabulate(record), "embedding")
    (quality, _) = row.quality
    by_seed = {
        state.cell.seed: study_store.run_store.get(state.run_id).result["scores"][0]["value"]
        for state in record.cells
        if state.cell.seed is not None
    }
    assert (row.seeds, row.planned_seeds) == ((3, 4, 5), 3)
    assert quality.seeds == (3, 4, 5) and quality.per_seed == tuple(by_seed[seed] for seed in (3, 4, 5))
    assert len(set(quality.per_seed)) == 3
    assert quality.mean == pytest.approx(sum(by_seed.values()) / 3)
    assert (quality.low, quality.high) == (min(by_seed.values()), max(by_seed.values()))
    assert quality.interval_kind == "lowest and highest of 3 seeds"
    assert get_row(tabulate(record), "base").planned_seeds == 1


def test_outputs_that_do_not_give_the_recorded_score_give_no_interval(study_store, make_study, perform, tabulate):
    record = perform(make_study(arms=(BASE,)))
    run = study_store.run_store.get(record.cells[0].run_id)
    path = run.folder / "outputs.jsonl"
    *lines, last = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines, json.dumps({**json.loads(last), "text": "changed"})]), encoding="utf-8")
    row = tabulate(record).rows[0]
    assert [(quality.low, quality.high, quality.interval_kind) for quality in row.quality] == [(None, None, None)] * 2
    assert any("its outputs on disk give" in note for note in row.notes)
    path.unlink()
    notes = tabulate(record).rows[0].notes
    assert any("expected the outputs of 5 sentences, found 0" in note for note in notes)


def test_an_interval_that_was_not_to_be_had_is_computed_once_it_is(study_store, make_study, perform, tabulate):
    record = perform(make_study(arms=(BASE,)))
    path = study_store.run_store.get(record.cells[0].run_id).folder / "outputs.jsonl"
    path.rename(path.with_suffix(".away"))
    assert tabulate(record).rows[0].quality[0].low is None
    path.with_suffix(".away").rename(path)
    row = tabulate(record).rows[0]
    assert all(quality.low is not None for quality in row.quality) and not row.notes
    (kept,) = (record.folder / "intervals").iterdir()
    entries = json.loads(kept.read_text())
    entries[0] |= {"low": None, "high": None, "problem": "kept by an older program"}
    kept.write_text(json.dumps(entries))
    assert tabulate(record).rows[0] == row


def test_intervals_are_kept_and_only_computed_when_asked_for(make_study, perform, tabulate, monkeypatch):
    import kslottery_core.studies.quality as quality_module

    record = perform(make_study(arms=(BASE,)))
    assert all(quality.low is None for quality in tabulate(record, with_intervals=False).rows[0].quality)
    computed = tabulate(record)
    monkeypatch.setattr(quality_module, "resample", None)
    assert tabulate(record) == computed == tabulate(record, with_intervals=False)
    assert computed.rows[0].quality[0].low is not None


def test_scores_of_another_signature_are_never_averaged(study_store, make_study, perform, tabulate):
    record = perform(make_study(arms=(EMBEDDING,), seeds=(3, 4)))
    second = record.cells[1].run_id
    scores = study_store.run_store.get(second).result["scores"]
    other = [{**score, "signature": score["signature"].replace("tok:13a", "tok:char")} for score in scores]
    change_result(study_store, second, scores=other)
    table = tabulate(record, with_intervals=False)
    assert len(table.measures) == 4
    assert [quality.seeds for quality in table.rows[0].quality] == [(3,), (3,), (4,), (4,)]


@pytest.mark.parametrize("field", ["decoding", "prompt_hash", "test_set_hash"])
def test_scores_of_another_decoding_prompt_or_test_are_never_averaged(
    study_store, make_study, perform, tabulate, field
):
    record = perform(make_study(arms=(EMBEDDING,), seeds=(3, 4)))
    second = record.cells[1].run_id
    scores = [{**score, field: "other"} for score in study_store.run_store.get(second).result["scores"]]
    change_result(study_store, second, scores=scores)
    assert len(tabulate(record, with_intervals=False).measures) == 4


def test_a_score_that_does_not_say_what_it_is_is_left_out(study_store, make_study, perform, tabulate):
    record = perform(make_study(arms=(BASE,)))
    change_result(study_store, record.cells[0].run_id, scores=[{"metric": "BLEU", "value": 99.0}])
    assert tabulate(record).measures == ()


def test_costs_are_means_and_not_measured_when_one_is_missing(study_store, make_study, perform, tabulate):
    record = perform(make_study(arms=(EMBEDDING, KS_ROWS), seeds=(3, 4)))
    runs = {(state.cell.arm, state.cell.seed): state.run_id for state in record.cells}
    for seed, seconds in ((3, 10.0), (4, 20.0)):
        cost = study_store.run_store.get(runs[0, seed]).result["cost"]
        change_result(study_store, runs[0, seed], cost={**cost, "total_seconds": seconds})
    cost = study_store.run_store.get(runs[1, 3]).result["cost"]
    change_result(
        study_store, runs[1, 3], cost={**cost, "optimizer_bytes": 100, "step_seconds": None, "saved_bytes": 8}
    )
    cost = study_store.run_store.get(runs[1, 4]).result["cost"]
    change_result(study_store, runs[1, 4], cost={**cost, "optimizer_bytes": 300, "step_seconds": 0.5, "saved_bytes": 8})
    table = tabulate(record, with_intervals=False)
    whole, rows = get_row(table, "embedding"), get_row(table, "KS rows")
    assert (whole.total_seconds, whole.selection_seconds) == (15.0, None)
    assert rows.selection_seconds == 15.0
    assert rows.get_cost("total_seconds") == rows.seconds_with_selection == rows.total_seconds + 15.0
    assert (rows.optimizer_bytes, rows.step_seconds, rows.saved_bytes) == (200.0, None, 8.0)
    assert (rows.trained_parameters, rows.peak_memory_bytes, rows.ticket_size) == (16.0, 2048.0, 3.0)
    assert whole.ticket_size is None


def test_rows_are_there_before_their_runs_and_carry_what_was_skipped(study_store, make_study, perform, tabulate):
    strict = StudyArm("strict", "ticket", RowRule("ks", significance_level=1e-12), (0.1, 0.2))
    study = study_store.create(make_study(arms=(BASE, EMBEDDING, strict), seeds=(3, 4)))
    empty = tabulate(study)
    assert [(row.label, row.learning_rate) for row in empty.rows] == [
        *(("base", None), ("embedding", 5e-3), ("strict", 0.1), ("strict", 0.2))
    ]
    assert empty.measures == () and all(row.run_ids == () for row in empty.rows)
    row = get_row(tabulate(perform(study.study_id)), "strict", learning_rate=0.1)
    assert (row.seeds, row.planned_seeds, row.quality, row.trained_parameters) == ((), 2, (), None)
    assert any("least significance level that gives a ticket" in note for note in row.notes)


def test_every_language_pair_has_measures_of_its_own(make_study, perform, tabulate):
    record = perform(make_study(arms=(BASE,), texts=(make_study.text("ca"), make_study.text("es"))))
    table = tabulate(record, with_intervals=False)
    assert [row.language for row in table.rows] == ["en-ca", "en-es"]
    assert sorted(measure.language for measure in table.measures) == ["en-ca", "en-ca", "en-es", "en-es"]
    assert all(row.get_quality(m) is None for row in table.rows for m in table.measures if m.language != row.language)


def make_row(label, mean, trained):
    measure = MEASURE
    quality = () if mean is None else (Quality(measure, mean, None, None, (mean,), (1,), None),)
    return StudyRow(label, "full", "en-ca", 0.1, 3, (1,), 1, quality=quality, trained_parameters=trained)


MEASURE = Measure("BLEU", "first line", "s", "greedy", "p", "t", 5, "en-ca")


def test_the_front_holds_who_is_beaten_by_nobody():
    rows = [
        make_row("free", 1.0, 0.0),
        make_row("cheap", 20.0, 10.0),
        make_row("as good but dearer", 20.0, 11.0),
        make_row("as dear but worse", 19.0, 10.0),
        make_row("best", 30.0, 1000.0),
        make_row("equal to the best", 30.0, 1000.0),
        make_row("dear and bad", 5.0, 5000.0),
        make_row("not scored", None, 1.0),
        make_row("not measured", 90.0, None),
    ]
    assert find_pareto(rows, MEASURE, "trained_parameters") == (0, 1, 4, 5)
    assert find_pareto(rows, dataclasses.replace(MEASURE, signature="other"), "trained_parameters") == ()
    with pytest.raises(StudyError, match=r"cost: expected one of trained_parameters, .* found 'beauty'"):
        find_pareto(rows, MEASURE, "beauty")


def test_the_csv_holds_every_score_with_its_signature(make_study, perform, tabulate):
    table = tabulate(perform(make_study(arms=(BASE, EMBEDDING, KS_ROWS), seeds=(3, 4))))
    lines = list(csv.DictReader(io.StringIO(format_study_csv(table))))
    assert len(lines) == 6
    for line, (row, quality) in zip(lines, [(r, q) for r in table.rows for q in r.quality], strict=True):
        assert (line["label"], line["signature"], float(line["mean"])) == (row.label, quality.signature, quality.mean)
        assert [float(score) for score in line["per_seed"].split()] == list(quality.per_seed)
        assert line["seeds"] == ("" if row.label == "base" else "3 4")
    assert lines[0]["learning_rate"] == lines[0]["ticket_size"] == "" and lines[4]["ticket_size"] == "3.0"


def test_a_label_that_begins_like_a_formula_is_text_in_the_csv():
    row = make_row("=HYPERLINK(1)", 20.0, 10.0)
    (line,) = csv.DictReader(io.StringIO(format_study_csv(StudyTable((row,), (MEASURE,)))))
    assert (line["label"], line["mean"], line["trained_parameters"]) == ("'=HYPERLINK(1)", "20.0", "10.0")


def test_rows_are_compared_seed_by_seed_as_sacrebleu_does(study_store, make_study, perform, tabulate):
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.significance import PairedTest

    table = tabulate(perform(make_study(arms=(BASE, EMBEDDING, KS_ROWS), seeds=(3, 4))), with_intervals=False)
    (measure,) = [measure for measure in table.measures if measure.extraction == "first line"]
    base, embedding = (get_row(table, label) for label in ("base", "embedding"))
    found = compute_comparisons(table, study_store.run_store, table.rows.index(base), measure)
    assert [(one.row, one.seed) for one in found] == [(1, 3), (1, 4), (2, 3), (2, 4)]
    runs = {run.run_id: run for run in study_store.run_store.list()}
    one, references = read_texts(runs[base.run_ids[0]], "first line")
    other, _ = read_texts(runs[embedding.run_ids[0]], "first line")
    _, oracle = PairedTest([("a", one), ("b", other)], {"BLEU": BLEU()}, [references], "bs", 1000)()
    assert found[0].p_value == oracle["BLEU"][1].p_value
    assert found[0].difference == pytest.approx(oracle["BLEU"][1].score - oracle["BLEU"][0].score)
    assert found[0].difference != 0
    # The fake runs of one seed write the same texts, whatever their method.
    against = compute_comparisons(table, study_store.run_store, table.rows.index(embedding), measure)
    assert [(one.row, one.seed, one.difference, one.p_value) for one in against] == [(2, 3, 0.0, 1.0), (2, 4, 0.0, 1.0)]


def test_a_baseline_without_that_score_is_refused(study_store, make_study, perform, tabulate):
    table = tabulate(perform(make_study(arms=(BASE,))), with_intervals=False)
    with pytest.raises(StudyError, match="'base' has no score in BLEU, first line"):
        compute_comparisons(table, study_store.run_store, 0, MEASURE)
    with pytest.raises(StudyError, match="baseline: expected a row from 0 to 0, found 3"):
        compute_comparisons(table, study_store.run_store, 3, MEASURE)


def test_ticket_sizes_are_of_every_embedding_tuning(study_store, make_study, perform):
    arms = (BASE, dataclasses.replace(EMBEDDING, learning_rates=(0.1, 0.2)))
    record = perform(make_study(arms=arms, seeds=(3, 4), steps=(5, 6)))
    points = compute_ticket_sizes(record, study_store.run_store, 0.05)
    assert {(p.language, p.seed, p.learning_rate, p.steps) for p in points} == {
        ("en-ca", seed, rate, steps) for seed in (3, 4) for rate in (0.1, 0.2) for steps in (5, 6)
    }
    # Three rows were moved by 1, which is far beyond their spread of 0.02.
    assert {(p.size, p.changed_rows, p.largest_distance) for p in points} == {(3, 3, 1.0)}
    assert {p.size for p in compute_ticket_sizes(record, study_store.run_store, 1e-12)} == {0}
    with pytest.raises(KSInputError, match="alpha"):
        compute_ticket_sizes(record, study_store.run_store, 1.5)


def test_ticket_sizes_outlive_the_tuned_models(study_store, make_study, perform):
    record = perform(make_study(arms=(EMBEDDING,)))
    model = study_store.run_store.get(record.cells[0].run_id).checkpoints / "model"
    moved = model.rename(model.with_name("moved"))
    with pytest.raises(StudyError, match=r"expected the tuned model at .* continue the study"):
        compute_ticket_sizes(record, study_store.run_store, 0.05)
    moved.rename(model)
    kept = compute_ticket_sizes(record, study_store.run_store, 0.05)
    shutil.rmtree(model)
    assert compute_ticket_sizes(record, study_store.run_store, 0.05) == kept


def test_a_study_that_cannot_be_read_has_no_table(study_store, make_study, tabulate):
    study = study_store.create(make_study())
    path = study.folder / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 9}))
    with pytest.raises(StudyError, match=r"it has no table. .*version 9"):
        tabulate(study)
    with pytest.raises(StudyError, match="it has no ticket sizes"):
        compute_ticket_sizes(study_store.get(study.study_id), study_store.run_store, 0.05)
