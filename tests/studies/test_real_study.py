import time

import pytest

from kslottery_core.evaluation.generate import EvaluationSettings
from kslottery_core.studies import (
    RowRule,
    StudyArm,
    compute_study_table,
    compute_ticket_sizes,
    start_study,
)
from kslottery_core.tuning.settings import LoraSettings


@pytest.mark.timeout(900)
def test_a_real_study_tunes_scores_and_stands_in_one_table(study_store, make_study):
    top = RowRule("ks", top_k=4)
    arms = (
        StudyArm("base", "base"),
        StudyArm("embedding", "embedding", learning_rates=(0.01,)),
        StudyArm("top 4", "ticket", top, (0.02,)),
        StudyArm("copied", "transfer", top),
        StudyArm("lora", "lora", lora=LoraSettings(rank=2)),
    )
    spec = make_study(arms=arms, evaluation=EvaluationSettings(max_new_tokens=4))
    study_id = start_study(study_store, study_store.create(spec).study_id).study_id
    deadline = time.monotonic() + 800
    while study_store.get(study_id).status.live:
        assert time.monotonic() < deadline, study_store.get(study_id).read_log_tail()
        time.sleep(0.2)
    record = study_store.get(study_id)
    assert record.status.state == "finished", record.read_log_tail()
    assert [state.state for state in record.cells] == ["finished"] * 5

    table = compute_study_table(record, study_store.run_store)
    rows = {row.label: row for row in table.rows}
    assert {measure.metric for measure in table.measures} >= {"BLEU", "chrF++"}
    assert all(len(row.quality) == len(table.measures) for row in table.rows)
    assert all(quality.low is not None for row in table.rows for quality in row.quality)
    trained = {label: row.trained_parameters for label, row in rows.items()}
    assert (trained["base"], trained["embedding"], trained["top 4"], trained["copied"]) == (0, 64 * 16, 4 * 16, 0)
    assert rows["copied"].copied_parameters == 4 * 16 and rows["top 4"].ticket_size == 4
    assert rows["top 4"].selection_seconds == rows["embedding"].total_seconds > 0
    assert 0 < trained["lora"] != trained["embedding"]
    assert rows["base"].saved_bytes is None and rows["top 4"].saved_bytes < rows["embedding"].saved_bytes
    tickets = [study_store.run_store.get(rows[label].run_ids[0]).spec.ticket for label in ("top 4", "copied")]
    assert tickets[0].token_ids == tickets[1].token_ids

    (point,) = compute_ticket_sizes(record, study_store.run_store, 0.05)
    assert 4 <= point.changed_rows < 64 and 0 < point.largest_distance <= 1
