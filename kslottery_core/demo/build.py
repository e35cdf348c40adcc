"""Make the whole demo anew with the product's own parts: text, base model, tuned model, ticket, finished runs.

The experiment decides what the pages show; nothing here picks a result.
"""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

from kslottery_core.checkpoints import open_pair
from kslottery_core.corpora import CorpusSpec
from kslottery_core.demo.first_view import save_first_view
from kslottery_core.demo.phrases import generate_phrases, save_demo_corpora, split_phrases
from kslottery_core.demo.pretraining import FULL_SIZE, QUICK_SIZE, pretrain
from kslottery_core.demo.series import build_series
from kslottery_core.errors import RunError
from kslottery_core.evaluation import EvaluationSettings
from kslottery_core.jobs import save_status, use_free_cores
from kslottery_core.ks import compute_pair_ks
from kslottery_core.progress import OnProgress, ignore_progress
from kslottery_core.records import load_json, save_json
from kslottery_core.runs import RunSpec, RunStore, follow_run, launch_run
from kslottery_core.runs.record import load_status
from kslottery_core.tickets import save_ticket, select_ticket, select_top_k_ticket
from kslottery_core.tuning import TuningSettings
from kslottery_core.tuning.saving import save_checkpoint

SEED = 42
SIGNIFICANCE_LEVELS = (0.05, 0.5)
"""One ticket each, so that the runs show what a larger ticket changes; the first is `ticket.json`."""
PUBLIC_ROOT = "data/demo"
"""How the shipped records name their own folder: from the root of the repository."""

EVALUATION = EvaluationSettings(beams=1, max_new_tokens=48, batch_size=50)
EMBEDDING_TUNING = TuningSettings(learning_rate=5e-3, max_steps=300, batch_size=32, seed=SEED)
TICKET_TUNING = TuningSettings(learning_rate=1e-2, max_steps=300, batch_size=32, seed=SEED)


def build_demo(out: str | Path, *, quick: bool = False, on_progress: OnProgress = ignore_progress) -> None:
    """Write text, both sides, series, `ticket.json`, runs and what the first view needs below an empty or new folder.

    Takes about a quarter of an hour on two cores, `quick` a minute (its models learn nothing). Raises KSLotteryError.
    """
    out = Path(out).resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: expected an empty or new folder for the demo, found something there; choose another.")
    use_free_cores()
    size = QUICK_SIZE if quick else FULL_SIZE
    save_demo_corpora(out / "text", seed=0)
    rows = split_phrases(generate_phrases(seed=0))["train"]
    model, tokenizer = pretrain(rows, size, out / "scratch", seed=SEED, on_progress=on_progress)
    save_checkpoint(out / "before", model, tokenizer)
    shutil.rmtree(out / "scratch", ignore_errors=True)
    _build_runs(out, quick, on_progress)
    for side in ("before", "after"):
        _compact_json(out / side / "tokenizer.json")
    save_first_view(out)


def _build_runs(out: Path, quick: bool, on_progress: OnProgress) -> None:
    """From `text/` and `before/` to the tuned model, the ticket and the finished runs."""
    store = RunStore(out / "runs")
    train, test = (CorpusSpec(str(out / "text" / f"{split}.jsonl"), "en", "ca") for split in ("train", "test"))
    evaluation, embedding, rows_tuning = EVALUATION, EMBEDDING_TUNING, TICKET_TUNING
    if quick:
        test = dataclasses.replace(test, limit=4)
        evaluation = dataclasses.replace(evaluation, max_new_tokens=4)
        embedding, rows_tuning = (dataclasses.replace(t, max_steps=3) for t in (embedding, rows_tuning))
    base = RunSpec("Base model", "base", str(out / "before"), test=test, evaluation=evaluation, device="cpu")
    _perform(store, base, on_progress)
    # What the base model can do when it is asked in the form it knows: another prompt, so never ranked with the others.
    own_prompt = dataclasses.replace(base, name="Base model, asked with its own tags", prompt="en: {source}\nca:")
    _perform(store, own_prompt, on_progress)
    whole = dataclasses.replace(base, name="Embedding tuning", method="embedding", train=train, tuning=embedding)
    tuned = _perform(store, whole, on_progress)
    scratch = RunStore(out / "scratch")
    build_series(out, whole, quick, lambda spec: _perform(scratch, spec, on_progress))
    shutil.rmtree(out / "scratch")
    (tuned / "checkpoints" / "model").rename(out / "after")  # the pair's after side; one copy is enough

    pair = open_pair(out / "before", out / "after")
    result = compute_pair_ks(pair, "cpu")
    tickets = [select_ticket(result, level, tokens=pair.tokens) for level in SIGNIFICANCE_LEVELS]
    tickets = [ticket for ticket in tickets if ticket.size]
    if not tickets:  # a toy pair may have no winner
        tickets = [select_top_k_ticket(result, 5, tokens=pair.tokens)]
    save_ticket(tickets[0], out / "ticket.json")
    for ticket in tickets:
        rows = f"of {ticket.size} rows"
        copied = dataclasses.replace(
            base, name=f"Partial Transfer {rows}", method="transfer", ticket=ticket, after=str(out / "after")
        )
        _perform(store, copied, on_progress)
        learned = dataclasses.replace(
            base, name=f"Partial Tuning {rows}", method="ticket", ticket=ticket, train=train, tuning=rows_tuning
        )
        _perform(store, learned, on_progress)
    shutil.rmtree(out / "locks", ignore_errors=True)
    for folder in (out / "runs").iterdir():
        _make_public(folder, out)


def _compact_json(path: Path) -> None:
    """Take the white space out of a JSON file: more than half of a pretty-printed tokenizer."""
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def _perform(store: RunStore, spec: RunSpec, on_progress: OnProgress) -> Path:
    """Run in a process of its own, so that one run's peak memory is not the next one's."""
    record = follow_run(store, launch_run(store, spec).run_id, on_progress)
    if record.status.state != "finished":
        raise RunError(f"demo: the run {spec.name!r} {record.status.state}: {record.status.message}")
    return record.folder


def _make_public(folder: Path, out: Path) -> None:
    """Take this machine's paths and name out of a finished run's records."""
    of_this_machine: dict[str, Any] = dict.fromkeys(("pid", "process_started", "process_identity", "host", "queue"))
    save_status(folder, dataclasses.replace(load_status(folder), **of_this_machine))
    result_path = folder / "result.json"
    result = load_json(result_path)
    result["device"]["host"] = None
    result["code"] = None  # the tree it was built from is not the one it is shipped in
    if result.get("tuning") and (folder / "checkpoints").is_dir() and not any((folder / "checkpoints").iterdir()):
        (folder / "checkpoints").rmdir()
        result["tuning"]["saved_path"] = str(out / "after")
    save_json(result_path, result)
    (folder / "log.txt").unlink(missing_ok=True)
    ticket_folder = folder / "checkpoints" / "ticket"
    if ticket_folder.is_dir():  # found from the ticket's own folder, wherever the repository lies
        save_json(
            ticket_folder / "base.json", {"source": os.path.relpath(out / "before", ticket_folder), "revision": None}
        )
    for path in folder.rglob("*.json*"):
        text = path.read_text(encoding="utf-8")
        if str(out) in text:
            path.write_text(text.replace(str(out), PUBLIC_ROOT), encoding="utf-8")
