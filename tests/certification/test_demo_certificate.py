"""The bundled demo: what a certificate measures in one pass is what its finished runs wrote when they generated."""

import json
from pathlib import Path

from kslottery_core.certification import KS_BOUND, CertificationTask, certify
from kslottery_core.corpora import CorpusSpec
from kslottery_core.tickets import Ticket

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"


def load_outputs(folder):
    lines = (folder / "outputs.jsonl").read_text(encoding="utf-8").splitlines()
    return [(output["text"].strip(), output["stopped"]) for output in map(json.loads, lines)]


def test_agreement_on_the_demo_is_that_of_its_partial_transfer_run():
    specs = {path.parent: json.loads(path.read_text(encoding="utf-8")) for path in (DEMO / "runs").glob("*/spec.json")}
    (tuned,) = [folder for folder, spec in specs.items() if spec["method"] == "embedding"]
    transferred, ticket = max(
        ((folder, Ticket.from_json(spec["ticket"])) for folder, spec in specs.items() if spec["method"] == "transfer"),
        key=lambda found: found[1].size,
    )
    found = certify(
        CertificationTask(
            before=str(DEMO / "before"),
            after=str(DEMO / "after"),
            ticket=ticket,
            corpus=CorpusSpec(str(DEMO / "text" / "test.jsonl")),
            significance_levels=(),
            max_new_tokens=48,
            device="cpu",
        )
    )
    written, expected = load_outputs(transferred), load_outputs(tuned)
    assert [(sentence.output, sentence.ended) for sentence in found.sentences] == expected
    equal = [one == other for one, other in zip(written, expected, strict=True)]
    same = [s.output_sequence.predicted == s.output_sequence.partial_predicted for s in found.sentences]
    assert same == equal
    assert 0 < found.chosen.outputs.agreed == sum(equal) < len(equal)
    assert found.chosen.predictions.get_level(KS_BOUND).violations == 0
