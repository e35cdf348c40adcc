import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import kslottery_core.checkpoints
import kslottery_core.scans
from dashboard.loaders import PairChoice
from dashboard.loaders.scan import go_on_scanning, load_kept_scan, plan_scan
from dashboard.views.layers import controls as control
from dashboard.views.layers import page
from dashboard.wording import escape_markdown
from kslottery_core.errors import CheckpointError
from kslottery_core.progress import ProgressEvent
from kslottery_core.scans import scan

MATRICES = 9  # embedding, head and seven matrices of the one layer


def read_metrics(app):
    return {metric.label: metric.value for metric in app.metric}


def read_texts(app):
    kinds = ("markdown", "caption", "info", "warning", "error", "subheader", "header", "title")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def read_button(app):
    return app.button(key="scan_button").label


@pytest.fixture
def choice(pair_folder):
    return PairChoice(str(pair_folder / "before"), str(pair_folder / "after"))


@pytest.fixture
def hold_scan(monkeypatch):
    """The page believes a scan to be under way, but nothing is compared."""
    monkeypatch.setattr(page, "scan_on", lambda plan, bar: None)
    monkeypatch.setattr(control, "_DOUBLE_CLICK_SECONDS", 0.0)


def test_the_page_says_what_a_scan_costs_before_it_reads_a_row(open_app, home):
    app = open_app("layers")
    assert read_button(app) == "Scan the model"
    # 2 x 64 rows of the embedding and the head, 4 square and 3 more matrices of width 32, float32, on both sides.
    assert f"{MATRICES} matrices, up to {(2 * 64 * 32 + 7 * 32 * 32) * 4 * 2 / 1000:.3g} kB" in read_texts(app)
    assert not (home / "scans").exists()
    assert "Nothing has been scanned yet" in app.info[0].value


def test_an_interrupted_scan_goes_on_where_it_stopped(choice, open_app, monkeypatch):
    plan = plan_scan(choice, "row", "*")
    for done in (1, 2, 3):  # no time at all is one matrix, so that even a slow one is done at last
        go_on_scanning(plan, lambda event: None, 0.0)
        assert len(load_kept_scan(plan).entries) == done
    app = open_app("layers")
    assert read_button(app) == "Go on"
    assert f"3 of {MATRICES} matrices are done and kept; {MATRICES - 3} are left" in read_texts(app)
    assert read_metrics(app)["Matrices compared"] == "3"
    monkeypatch.setattr(control, "_SLICE_SECONDS", 0.0)  # the page is then drawn after every matrix
    app.button(key="scan_button").click().run()
    assert read_metrics(app)["Matrices compared"] == str(MATRICES)


def test_stop_and_leaving_the_page_end_a_scan(open_app, hold_scan, go_to):
    app = open_app("layers")
    app.button(key="scan_button").click().run()
    assert read_button(app) == "Stop"
    app.text_input(key="scan_pattern").set_value("").run()
    assert read_button(app) == "Stop"  # another click on the page is no reason to stop
    app.button(key="scan_button").click().run()
    assert read_button(app) == "Scan the model"
    app.button(key="scan_button").click().run()
    go_to(app, "alpha")
    go_to(app, "layers")
    assert read_button(app) == "Scan the model"


def test_a_damaged_kept_scan_can_be_begun_anew(scanned, home, open_app):
    (folder,) = (home / "scans").iterdir()
    (folder / "scan.json").write_text("no record\n")
    app = open_app("layers")
    assert "scan.json" in app.error[0].value
    app.button(key="scan_forget").click().run()
    assert not app.error
    assert read_button(app) == "Scan the model"


@pytest.fixture
def hold_elsewhere():
    """Another process that holds a scan's folder until the test ends: `hold_elsewhere(folder)` returns its number."""
    code = (
        "import sys\nfrom kslottery_core.scans import hold_folder\n"
        "with hold_folder(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    with contextlib.ExitStack() as stack:

        def hold(folder):
            command = [sys.executable, "-c", code, str(folder)]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.communicate)
            assert process.stdout.readline() == "held\n"
            return process.pid

        yield hold


def test_a_scan_by_another_process_is_told_in_one_sentence(choice, open_app, hold_elsewhere):
    pid = hold_elsewhere(plan_scan(choice, "row", "*").folder)
    app = open_app("layers")
    app.button(key="scan_button").click().run()
    assert not app.exception
    assert escape_markdown(f"already being scanned by another process (pid {pid})") in app.error[0].value
    assert read_button(app) == "Scan the model"


def test_a_scan_that_another_process_writes_is_not_removed(scanned, home, open_app, hold_elsewhere):
    (folder,) = (home / "scans").iterdir()
    (folder / "scan.json").write_text("no record\n")
    hold_elsewhere(folder)
    app = open_app("layers")
    app.button(key="scan_forget").click().run()
    assert any("already being scanned by another process" in error.value for error in app.error)
    assert (folder / "parameters.jsonl").exists()


def test_files_that_change_during_a_scan_are_told(open_app, pair_folder, tmp_path, monkeypatch):
    after = Path(shutil.copytree(pair_folder / "after", tmp_path / "after"))
    app = open_app("layers", after=str(after))
    monkeypatch.setattr(scan, "compute_ks", lambda *sides, **how: (after / "model.safetensors").touch())
    monkeypatch.setattr(scan, "build_entry", lambda *found: None)
    app.button(key="scan_button").click().run()
    assert not app.exception
    assert "its files changed while" in app.error[0].value


@pytest.fixture
def adapter(pair_folder, tmp_path):
    """A LoRA adapter on one matrix of the before model."""
    import torch
    from safetensors.torch import save_file

    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": str(pair_folder / "before")})
    )
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    factors = {name.format("A"): torch.full((2, 32), 0.5), name.format("B"): torch.full((32, 2), 0.5)}
    save_file(factors, tmp_path / "adapter" / "adapter_model.safetensors")
    return tmp_path / "adapter"


def test_a_lora_adapter_can_be_the_after_side(open_app, adapter):
    app = open_app("layers", after=str(adapter))
    app.button(key="scan_button").click().run()
    table = app.dataframe[-1].value
    assert list(table[table["Changed"] > 0]["Matrix"]) == ["model.layers.0.self_attn.q_proj.weight"]


@pytest.mark.parametrize("page", ["pair", "alpha"])
def test_an_adapter_without_embedding_rows_leads_to_the_layers(open_app, adapter, page):
    app = open_app(page, after=str(adapter))
    assert len(app.error) == 1
    links = [link.proto.label for link in app.get("page_link")]
    assert "See which matrices this adapter changes" in links


def test_an_address_downloads_no_weights_without_a_click(open_app, monkeypatch):
    asked = []

    def open_pair(before, after, **how):
        asked.append((before, after))
        raise CheckpointError("no hub in tests.")

    monkeypatch.setattr(kslottery_core.checkpoints, "open_parameter_pair", open_pair)
    monkeypatch.setattr(kslottery_core.checkpoints, "open_pair", open_pair)
    app = open_app("pair", before="org/x", after="org/y")
    app.button(key="allow_download").click().run()
    asked.clear()
    app = open_app("layers", before="org/x", after="org/y")
    assert asked == []
    assert "all its weights" in app.info[0].value
    app.button(key="allow_download").click().run()
    assert asked == [("org/x", "org/y")]
    assert "no hub in tests" in app.error[0].value


def test_the_permission_for_the_embedding_is_none_for_all_weights(open_app, monkeypatch, go_to):
    def open_pair(before, after, **how):
        raise CheckpointError("no hub in tests.")

    monkeypatch.setattr(kslottery_core.checkpoints, "open_parameter_pair", open_pair)
    monkeypatch.setattr(kslottery_core.checkpoints, "open_pair", open_pair)
    app = open_app("pair", before="org/x", after="org/y")
    app.button(key="allow_download").click().run()
    go_to(app, "layers")
    assert not app.error
    assert app.button(key="allow_download")


def test_what_a_scan_waits_for_is_shown_on_its_bar():
    shown = []
    bar = SimpleNamespace(progress=lambda share, text: shown.append((share, text)))
    control._make_progress(bar)(ProgressEvent("wait", 0, 9, message="waits for a long run"))
    assert shown == [(0.0, "The scan waits for a long run")]
