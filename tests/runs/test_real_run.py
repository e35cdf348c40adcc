from kslottery_core.evaluation.generate import EvaluationSettings
from kslottery_core.runs import cancel_run, launch_run
from kslottery_core.tickets import Ticket
from kslottery_core.tuning.settings import TuningSettings


def test_the_real_worker_tunes_scores_and_can_be_cancelled(store, make_spec, wait_until, tiny_llama_folder):
    ticket = Ticket(token_ids=(3, 5, 8), vocabulary_size=64, rule="list")
    common = {"model": str(tiny_llama_folder), "ticket": ticket, "evaluation": EvaluationSettings(max_new_tokens=4)}
    first = launch_run(store, make_spec(name="first", tuning=TuningSettings(max_steps=2), **common))
    second = launch_run(store, make_spec(name="second", tuning=TuningSettings(max_steps=100_000), **common))

    first = wait_until(first, lambda record: not record.status.live, seconds=120)
    assert first.status.state == "finished", first.read_log_tail()
    assert first.problem is None
    assert {score["metric"] for score in first.result["scores"]} >= {"BLEU", "chrF++"}
    assert first.result["tuning"]["trained_parameters"] == 3 * 16
    assert len(first.result["fingerprints"]["model"]) == 64
    assert len(first.read_outputs()) == 2
    assert (first.checkpoints / "ticket" / "rows.safetensors").exists()

    second = wait_until(second, lambda record: record.status.phase == "tune" and record.status.step > 5, seconds=120)
    assert second.remaining_seconds > 0
    cancel_run(second)
    second = wait_until(second, lambda record: not record.status.live, seconds=10)
    assert second.status.state == "cancelled", second.read_log_tail()
    assert second.result["tuning"]["stopped"] is True
    assert (second.checkpoints / "ticket" / "rows.safetensors").exists()
