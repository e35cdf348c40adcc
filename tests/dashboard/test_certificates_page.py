import json
import shutil
import threading

import pytest
import torch

import kslottery_core.certification
from dashboard import loaders
from dashboard.views.certificates import controls
from dashboard.views.certificates.loading import list_live_works
from kslottery_core import jobs
from kslottery_core.certification import load_certification
from kslottery_core.progress import never_stop

SENTENCES = 4
CHANGED = "3-12"  # every row that the tiny pair's tuning moved


def read_metrics(app):
    return {metric.label: metric.value for metric in app.metric}


def read_texts(app):
    kinds = ("markdown", "caption", "info", "warning", "error", "success", "subheader", "header", "title")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def read_table(app, column):
    return next(table.value for table in app.dataframe if column in table.value.columns)


def has_button(app, key):
    return any(button.key == key for button in app.button)


def wait_for_works():
    for work in list_live_works():
        work.thread.join(60)
        assert not work.live


@pytest.fixture
def text(tmp_path):
    lines = [
        {"en": f"word{number} word{number + 1} 7 .", "ca": f"word{number + 2} word{number + 3} ."}
        for number in range(SENTENCES)
    ]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def swapped(pair_folder, tmp_path):
    """A tuned side whose changed rows hold the old values in another order: D is 0, and the model another one."""
    from safetensors.torch import load_file, save_file

    after = tmp_path / "swapped"
    shutil.copytree(pair_folder / "before", after)
    tensors = load_file(after / "model.safetensors")
    tensors["model.embed_tokens.weight"][2:13] = tensors["model.embed_tokens.weight"][2:13].flip(1)
    save_file(tensors, after / "model.safetensors", metadata={"format": "pt"})
    return after


@pytest.fixture
def open_page(open_app, text):
    """The page with the text given: `open_page(rows="list", ...)` adds to the address."""

    def open_page(**address):
        entries = {"text": str(text), "from": "en", "to": "ca", "new-tokens": "6"}
        return open_app("certificates", **{**entries, **address})

    return open_page


@pytest.fixture
def certify():
    """Press Certify, wait until it has ended, and draw the page again as its own polling does."""

    def act(app):
        app.button(key="certify").click().run()
        assert not app.exception
        wait_for_works()
        app.run()
        assert not app.exception
        return app

    return act


@pytest.fixture
def refuse_to_certify(monkeypatch):
    def refuse(*args, **how):
        raise AssertionError("it would be certified again")

    return lambda: monkeypatch.setattr(kslottery_core.certification, "certify", refuse)


@pytest.fixture
def hold_certifying(monkeypatch):
    """Certifying that does nothing until it is asked to stop."""
    begun = threading.Event()

    def hold(task, *, on_progress, should_stop):
        begun.set()
        while not should_stop():
            threading.Event().wait(0.01)

    monkeypatch.setattr(kslottery_core.certification, "certify", hold)
    monkeypatch.setattr(controls, "_DOUBLE_CLICK_SECONDS", 0.0)
    return begun


def test_the_page_without_a_pair_says_what_to_do(open_app):
    app = open_app("certificates", with_pair=False)
    assert "No pair is open yet" in app.info[0].value
    assert app.title[0].value == "What is certified?"


def test_a_missing_text_is_asked_for_and_nothing_can_be_started(open_app, home):
    app = open_app("certificates")
    assert "Give a test text first" in read_texts(app)
    assert not app.error
    assert app.button(key="certify").disabled
    assert not (home / "certificates").exists()


def test_before_anything_is_certified_the_page_says_what_pressing_the_button_does(open_page):
    app = open_page()
    assert "Nothing is certified yet for this ticket and this text. Press Certify" in read_texts(app)
    assert not app.button(key="certify").disabled
    assert not app.metric


def test_a_ticket_of_every_changed_row_is_certified_exactly(open_page, certify):
    app = certify(open_page(rows="list", **{"tokens-named": CHANGED}))
    metrics = read_metrics(app)
    assert (metrics["Certified, exact"], metrics["Certified, KS bound"]) == ("100 %", "100 %")
    assert (metrics["Agreement, measured"], metrics["Violations"]) == ("100 %", "0")
    assert metrics["Accuracy, tuned model"] == metrics["Accuracy, partial model"]
    words = read_texts(app)
    assert "Largest difference of any logit between the two models at predictions certified as exact: 0" in words
    assert not app.warning
    app.segmented_control(key="certificate_kind").set_value("outputs").run()
    assert read_metrics(app)["Certified, exact"] == "100 %"
    assert any(f"of {SENTENCES} outputs" in metric.delta for metric in app.metric)
    assert app.query_params["count"] == "outputs"


def test_the_assumption_and_what_is_not_certified_stand_on_the_page(open_page, certify):
    app = certify(open_page(rows="list", **{"tokens-named": CHANGED}))
    words = read_texts(app)
    assert "for a transformer it is an assumption" in words
    assert "theorem" in words
    assert "is not reproduced" in words
    assert "says nothing about the quality of a translation" in words


def count_differences(sentences, before, after):
    """Positions of the references where the two whole models have different top tokens, by transformers alone."""
    from transformers import AutoModelForCausalLM

    models = [AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32) for folder in (before, after)]
    different = 0
    for sentence in sentences:
        sequence = sentence.reference_sequence
        ids = torch.tensor([sequence.token_ids[:-1]])
        with torch.inference_mode():
            tops = [model(ids).logits[0, sequence.start - 1 :].argmax(dim=1) for model in models]
        different += int((tops[0] != tops[1]).sum())
    return different


def test_violations_are_counted_warned_of_listed_and_drawn(open_page, certify, swapped, pair_folder, home):
    app = certify(open_page(after=str(swapped), rows="list", **{"tokens-named": "20"}))
    metrics = read_metrics(app)
    (path,) = (home / "certificates").iterdir()
    expected = count_differences(load_certification(path).sentences, pair_folder / "before", swapped)
    assert expected > 0
    assert (metrics["Certified, exact"], metrics["Certified, KS bound"]) == ("0 %", "100 %")
    assert int(metrics["Violations"]) == expected
    assert "Certified, yet different" in app.warning[0].value
    assert f"{expected} next-token prediction" in app.warning[0].value
    table = read_table(app, "Sentence")
    listed = table[table["Text"] == "Reference translation"]
    assert len(listed) == expected
    assert (listed["Bound"] == 0).all()
    assert listed["Left behind"].str.contains("D 0.000").all()
    assert "Violations as CSV" in [button.proto.label for button in app.get("download_button")]
    # "Violations first": the sentence shown first has one, and it is marked in the drawing.
    assert "ksc-is-violation" in "".join(element.proto.body for element in app.get("html"))


def test_every_larger_ticket_is_a_level_of_its_own_and_shows_what_it_lost(
    open_page, certify, swapped, pair_folder, home
):
    ids = "5-12"
    app = open_page(rows="list", **{"tokens-named": ids, "after": str(swapped), "before": str(pair_folder / "before")})
    app.number_input(key="certificate_larger_limit").set_value(4).run()
    assert app.query_params["larger-tickets"] == "4"
    app = certify(app)
    (path,) = (home / "certificates").glob("*.json")
    kept = load_certification(path)
    tried = kept.chosen.larger_tickets
    certified = kept.chosen.predictions.get_level("every_larger_ticket").certified
    assert certified + tried.lost + tried.not_tried == kept.chosen.predictions.total
    assert tried.lost  # a swapped row changes something, or this pair shows nothing
    assert f"{tried.not_tried:,} next-token prediction" in read_texts(app)
    assert f"{tried.lost:,} lost" in read_texts(app)
    assert len(read_table(app, "Rows that break it")) == len(tried.listed)
    assert "Certified, every larger ticket" in read_metrics(app)


def test_a_certificate_is_kept_at_home_and_found_again(open_page, certify, home, refuse_to_certify):
    app = certify(open_page(rows="list", **{"tokens-named": CHANGED}))
    (path,) = (home / "certificates").iterdir()
    assert load_certification(path).task.ticket.token_ids == tuple(range(3, 13))
    loaders.st.cache_resource.clear()  # as after a restart: only the disk remembers
    refuse_to_certify()
    again = open_page(rows="list", **{"tokens-named": CHANGED})
    assert read_metrics(again) == read_metrics(app)
    other = open_page(rows="list", **{"tokens-named": "3-11"})
    assert not other.metric
    assert has_button(other, "certify")


def test_another_alpha_of_the_grid_is_found_in_the_kept_certificate(open_page, certify, home, refuse_to_certify):
    certify(open_page(alpha="0.5"))
    (path,) = (home / "certificates").iterdir()
    kept = load_certification(path)
    point = next(point for point in kept.grid if point.ticket_size != kept.chosen.ticket_size)
    refuse_to_certify()
    app = open_page(alpha=f"{point.significance_level:g}")
    assert "from the certificate of another α" in read_texts(app)
    agreed = point.predictions.agreed
    assert any(metric.delta.startswith(f"{agreed:,} of ") for metric in app.metric if "Agreement" in metric.label)
    assert has_button(app, "certify")  # for its sentences
    assert not any(box.key == "certificate_sentence" for box in app.selectbox)
    assert [file.name for file in (home / "certificates").iterdir()] == [path.name]


def test_an_alpha_with_the_same_ticket_shows_its_sentences_too(open_page, certify, home, refuse_to_certify):
    certify(open_page(alpha="0.5"))
    assert len(list((home / "certificates").iterdir())) == 1
    refuse_to_certify()
    app = open_page(alpha="0.5001")
    assert app.selectbox(key="certificate_sentence").value
    assert app.metric


def test_what_is_shown_is_in_the_address_and_comes_back(open_page, certify):
    app = certify(open_page(rows="list", **{"tokens-named": CHANGED}))
    app.segmented_control(key="certificate_text").set_value("output").run()
    app.selectbox(key="certificate_sentence").set_value(3).run()
    app.toggle(key="certificate_log_axis").set_value(True).run()
    address = {name: value for name, value in app.query_params.items() if name not in ("before", "after")}
    assert {"shown": "output", "sentence": "3", "axis": "log"}.items() <= address.items()
    again = open_page(**address)
    assert again.selectbox(key="certificate_sentence").value == 3
    assert again.segmented_control(key="certificate_text").value == "output"
    assert again.text_area(key="certificate_list").value == CHANGED
    assert again.number_input(key="certificate_new_tokens").value == 6
    assert read_metrics(again) == read_metrics(app)


def test_an_address_with_wrong_values_is_told_and_the_rest_stays(open_page):
    app = open_page(count="words", sentences="many", axis="round")
    told = "\n".join(warning.value for warning in app.warning)
    assert "count = words" in told
    assert "sentences = many" in told
    assert "axis = round" in told
    assert app.number_input(key="certificate_limit").value == 50


@pytest.mark.parametrize(
    ("address", "sentence", "key", "typed"),
    [
        ({"text": "/nowhere/test.jsonl"}, "There is no file at /nowhere/test.jsonl", "certificate_path", None),
        ({"to": "en"}, "expected two different columns", "certificate_target", "en"),
        ({"rows": "list", "tokens-named": "3, 999"}, "found 999", "certificate_list", "3, 999"),
        ({"prompt": "{source} {nothing}"}, "nothing", "certificate_prompt", "{source} {nothing}"),
    ],
)
def test_a_wrong_entry_is_one_sentence_and_stays_as_it_was_typed(open_page, address, sentence, key, typed):
    app = open_page(**address)
    assert len(app.error) == 1
    assert sentence in app.error[0].value.replace("\\", "")
    assert app.button(key="certify").disabled
    widgets = [*app.text_input, *app.text_area]
    assert next(widget for widget in widgets if widget.key == key).value == (typed or address["text"])


def test_an_empty_text_is_one_sentence(open_page, text):
    text.write_text("")
    app = open_page()
    assert len(app.error) == 1
    assert app.button(key="certify").disabled


def test_what_only_the_work_finds_is_one_sentence_too(open_page, certify):
    app = certify(open_page(**{"new-tokens": "100000"}))
    assert len(app.error) == 1
    assert "do not fit into" in app.error[0].value.replace("\\", "")
    assert not app.metric
    assert not app.button(key="certify").disabled
    assert app.number_input(key="certificate_new_tokens").value == 100000


def test_a_ticket_from_another_pair_is_one_sentence(open_page, certify, result, pair):
    from kslottery_core.tickets import select_ticket

    ticket = select_ticket(result, 0.9, tokens=pair.tokens).to_json() | {"fingerprint_after": "0" * 64}
    app = open_page(rows="file")
    assert "Choose a ticket file first" in read_texts(app)
    app.file_uploader(key="certificate_ticket_file").set_value(
        ("t.json", json.dumps(ticket).encode(), "text/json")
    ).run()
    certify(app)
    assert "expected one that was selected from this pair" in app.error[0].value.replace("\\", "")


def test_a_file_that_is_no_ticket_is_one_sentence(open_page):
    app = open_page(rows="file")
    app.file_uploader(key="certificate_ticket_file").set_value(("t.json", b"no ticket", "text/json")).run()
    assert "found no JSON" in app.error[0].value
    assert app.button(key="certify").disabled


def test_work_can_be_stopped_and_started_again(open_page, hold_certifying):
    app = open_page()
    app.button(key="certify").click().run()
    assert hold_certifying.wait(30)
    app.run()
    assert not has_button(app, "certify")
    (stop,) = [button for button in app.button if button.label == "Stop"]
    stop.click().run()
    wait_for_works()
    app.run()
    assert "Certifying was stopped" in read_texts(app)
    assert has_button(app, "certify")


def test_another_window_goes_on_meanwhile_and_sees_the_work(open_page, hold_certifying, open_app):
    app = open_page()
    app.button(key="certify").click().run()
    assert hold_certifying.wait(30)
    other = open_page(rows="list", **{"tokens-named": CHANGED})
    assert has_button(other, "certify")  # it may start its own, which then waits for its turn
    assert "Certifying" in read_texts(other)
    assert open_app("alpha").metric
    other.button(key="certify").click().run()
    assert sorted(work.state for work in list_live_works()) == ["running", "waiting"]
    for work in list_live_works():
        work.stop.set()
    wait_for_works()


def test_waiting_for_a_run_is_shown_and_can_be_stopped(open_page, home, monkeypatch):
    monkeypatch.setattr(controls, "_DOUBLE_CLICK_SECONDS", 0.0)
    with jobs.hold_turn("cpu", "a long run", on_wait=print, should_stop=never_stop) as held:
        assert held
        app = open_page()
        app.button(key="certify").click().run()
        (work,) = list_live_works()
        for _ in range(600):
            if work.event is not None:
                break
            threading.Event().wait(0.05)
        app.run()
        assert any("waits for a long run" in bar.proto.text for bar in app.get("progress"))
        (stop,) = [button for button in app.button if button.label == "Stop"]
        stop.click().run()
        wait_for_works()
    app.run()
    assert "Certifying was stopped" in read_texts(app)


def test_an_unexpected_end_of_the_work_is_told_and_raises_nothing(open_page, certify, monkeypatch, caplog):
    def fail(*args, **how):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(kslottery_core.certification, "certify", fail)
    app = certify(open_page())
    assert "RuntimeError: out of memory" in app.error[0].value.replace("\\", "")
    assert any("Certifying" in record.message for record in caplog.records)


def test_a_damaged_kept_certificate_can_be_removed(open_page, certify, home):
    certify(open_page(rows="list", **{"tokens-named": CHANGED}))
    (path,) = (home / "certificates").iterdir()
    path.write_text("{}")
    app = open_page(rows="list", **{"tokens-named": CHANGED})
    assert len(app.error) == 1
    assert not app.exception
    app.button(key="forget_certificate").click().run()
    assert not path.exists()
    assert has_button(app, "certify")


def test_a_damaged_certificate_that_cannot_be_removed_is_one_sentence(open_page, certify, home, monkeypatch):
    certify(open_page(rows="list", **{"tokens-named": CHANGED}))
    (path,) = (home / "certificates").iterdir()
    path.write_text("{}")
    app = open_page(rows="list", **{"tokens-named": CHANGED})

    def refuse(self, missing_ok=False):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(type(path), "unlink", refuse)
        app.button(key="forget_certificate").click().run()
    assert not app.exception
    (told,) = [error.value for error in app.error if "cannot be removed" in error.value]
    assert str(path.name).split(".")[0] in told
    app.button(key="forget_certificate").click().run()
    assert not app.error
    assert not path.exists()


def open_check(app):
    """Open the box at the end of the page."""
    app.session_state["certificate_check"] = True
    return app.run()


@pytest.fixture
def check():
    """Press Check it, wait, and draw the page again."""

    def act(app):
        open_check(app)
        app.button(key="check_certificate").click().run()
        wait_for_works()
        app.run()
        assert not app.exception
        return app

    return act


def test_a_certificate_holds_until_a_checkpoint_changes(open_page, certify, check, pair_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    after = tmp_path / "after"
    shutil.copytree(pair_folder / "after", after)
    entries = {"after": str(after), "rows": "list", "tokens-named": CHANGED}
    app = check(certify(open_page(**entries)))
    assert "The certificate holds" in read_texts(app)
    tensors = load_file(after / "model.safetensors")
    tensors["model.embed_tokens.weight"][5] += 0.5
    save_file(tensors, after / "model.safetensors", metadata={"format": "pt"})
    again = check(open_page(**entries))
    assert "The certificate does not hold" in read_texts(again)
    assert "input embedding of" in read_texts(again)


def test_an_uploaded_certificate_is_checked_against_the_open_pair(open_page, certify, check, home, tmp_path):
    certify(open_page(rows="list", **{"tokens-named": CHANGED}))
    (path,) = (home / "certificates").iterdir()
    content = json.loads(path.read_text())
    path.unlink()
    content["task"] |= {"before": "/elsewhere/before", "after": "/elsewhere/after"}
    app = open_check(open_page())
    app.file_uploader(key="certificate_upload").set_value(
        ("certificate.json", json.dumps(content).encode(), "application/json")
    ).run()
    assert "/elsewhere/before" in read_texts(app)
    app = check(app)
    assert "/elsewhere/before" in app.error[0].value.replace("\\", "")
    app.segmented_control(key="certificate_against").set_value("The open pair and the text above").run()
    assert "The certificate holds" in read_texts(check(app))


def test_a_file_that_is_no_certificate_is_one_sentence(open_page):
    app = open_check(open_page())
    for content, words in ((b"\xff", "found no JSON"), (b"{}", "expected a certificate of version")):
        app.file_uploader(key="certificate_upload").set_value(("c.json", content, "application/json")).run()
        assert not app.exception
        assert words in app.error[0].value


def test_an_address_reads_no_weights_of_a_hub_model_without_a_click(open_page, monkeypatch):
    import kslottery_core.checkpoints

    asked = []
    monkeypatch.setattr(kslottery_core.checkpoints, "open_pair", lambda *sides, **how: asked.append(sides))
    app = open_page(before="org/x", after="org/y")
    assert asked == []
    assert has_button(app, "allow_download")
