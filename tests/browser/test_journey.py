"""What a newcomer does, in a real browser: see who wins, move alpha, tune the ticket, read its score."""

import json
import time

from browser_waiting import find_metric, wait_until_still
from playwright.sync_api import expect

from kslottery_core.demo import DEMO_PATH
from kslottery_core.runs import RunStore
from kslottery_core.tickets import load_ticket

RUN_SECONDS = 240


def test_a_newcomer_goes_from_the_pair_to_the_score_of_a_tuned_ticket(server, page):
    page.goto(server.address)
    page.get_by_role("heading", name="Which tokens moved?").wait_for()
    page.get_by_test_id("stPlotlyChart").first.wait_for()
    expected = load_ticket(DEMO_PATH / "ticket.json")
    expect(find_metric(page, "Winning tokens")).to_have_text(str(expected.size))

    page.get_by_role("link", name="Tokens", exact=True).click()
    page.get_by_role("heading", name="Every token").wait_for()
    page.get_by_test_id("stDataFrame").first.wait_for()
    page.goto(f"{server.address}/tokens?tokens={expected.token_ids[0]}")
    page.get_by_text("1 token picked").wait_for()
    page.get_by_test_id("stPlotlyChart").first.wait_for()

    page.get_by_role("link", name="Alpha", exact=True).click()
    page.get_by_role("heading", name="How many tokens win?").wait_for()
    slider = page.get_by_role("slider")
    slider.wait_for()
    expect(find_metric(page, "Tokens in the ticket")).to_have_text(str(expected.size))
    page.get_by_label("α as a number").fill("1e-9")
    page.get_by_label("α as a number").press("Enter")
    page.wait_for_url("**alpha=1e-09**")
    wait_until_still(page)
    expect(find_metric(page, "Tokens in the ticket")).to_have_text("0")
    for size in ("1", "3"):
        address = page.url
        slider.press("ArrowRight")
        page.wait_for_function("address => location.href !== address", arg=address)
        expect(find_metric(page, "Tokens in the ticket")).to_have_text(size)
        wait_until_still(page)
    page.get_by_label("α as a number").fill("0.05")
    page.get_by_label("α as a number").press("Enter")
    page.wait_for_function("!location.search.includes('alpha=')")
    wait_until_still(page)
    expect(find_metric(page, "Tokens in the ticket")).to_have_text(str(expected.size))

    page.get_by_role("button", name="Tune this ticket").click()
    page.get_by_role("heading", name="Runs", exact=True).wait_for()
    page.get_by_label("Name of the run").fill("My first ticket")
    page.get_by_label("Name of the run").press("Tab")
    page.get_by_label("Steps", exact=True).fill("20")
    page.get_by_label("Steps", exact=True).press("Tab")
    wait_until_still(page)
    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="My first ticket").wait_for()

    # The run belongs to nobody's browser or server: kill the server in the middle, and it goes on and is found again.
    store = RunStore(server._environment["KSLOTTERY_HOME"] + "/runs")
    (record,) = store.list()
    server.kill()
    deadline = time.monotonic() + RUN_SECONDS
    while store.get(record.run_id).status.live and time.monotonic() < deadline:
        time.sleep(0.5)
    record = store.get(record.run_id)
    assert record.status.state == "finished", (record.status.message, record.read_log_tail())
    server.start()

    page.goto(f"{server.address}/runs?run={record.run_id}")
    page.get_by_role("heading", name="My first ticket").wait_for()
    page.get_by_text("Finished").filter(visible=True).first.wait_for()
    for score in record.result["scores"]:
        expect(find_metric(page, f"{score['metric']}, {score['extraction']}")).to_have_text(f"{score['value']:.1f}")
    page.goto(f"{server.address}/compare")
    page.get_by_role("heading", name="Compare runs").wait_for()
    page.get_by_test_id("stPlotlyChart").first.wait_for()
    page.get_by_text("My first ticket").filter(visible=True).first.wait_for()
    page.get_by_text("Base model").filter(visible=True).first.wait_for()
    assert page.get_by_test_id("stException").count() == 0


def test_a_wrong_path_is_one_sentence_in_the_page_and_what_was_typed_stays(server, page):
    page.goto(f"{server.address}/?before=/no/such/folder&after=/nor/this")
    expect(page.get_by_test_id("stAlert").first).to_contain_text("/no/such/folder")
    wait_until_still(page)
    assert page.get_by_test_id("stException").count() == 0
    assert "/no/such/folder" in page.url.replace("%2F", "/")


def test_a_newcomer_scans_the_layers_and_compares_the_series_of_the_demo(server, page):
    page.goto(f"{server.address}/layers")
    page.get_by_role("heading", name="Do other matrices move?").wait_for()
    page.get_by_role("button", name="Scan the model").click()
    page.get_by_role("heading", name="Layer by matrix").wait_for()
    page.get_by_role("button", name="All matrices as CSV").wait_for()
    wait_until_still(page)
    expected = load_ticket(DEMO_PATH / "ticket.json")
    expect(find_metric(page, "Matrices compared")).to_have_text("30")
    expect(find_metric(page, "Matrices changed")).to_have_text("1")
    expect(find_metric(page, "Winners at")).to_have_text(str(expected.size))

    page.get_by_role("link", name="Checkpoints", exact=True).click()
    page.get_by_role("heading", name="Do the same tokens win again?").wait_for()
    page.get_by_role("button", name="demo").click()
    page.get_by_role("heading", name="Winners in each checkpoint").wait_for()
    page.get_by_role("heading", name="The numbers").wait_for()
    wait_until_still(page)
    expect(find_metric(page, "Tokens winning in all 5")).to_have_text("3")
    expect(page.get_by_test_id("stPlotlyChart")).to_have_count(3)
    assert page.get_by_test_id("stException").count() == 0


def test_a_long_output_can_be_read_whole_on_a_narrow_page(server, page):
    text = "La casa. " + "ra" * 400 + " end"
    folder = server.home / "runs" / "r1"
    folder.mkdir(parents=True)
    spec = {"name": "Rambling", "method": "base", "model": "/models/base", "ticket": None, "train": None}
    (folder / "spec.json").write_text(json.dumps(spec))
    status = {"state": "finished", "created": 100.0, "message": None, "started": 110.0, "ended": 130.0}
    (folder / "status.json").write_text(json.dumps(status))
    score = {"metric": "BLEU", "extraction": "whole output", "value": 3.0, "signature": "s", "decoding": "greedy"}
    score |= {"prompt_hash": "p", "test_set_hash": "t", "sentences": 1}
    cost = {"trained_parameters": 0, "tuning_seconds": 1, "peak_memory_bytes": 1, "saved_bytes": 1}
    result = {"scores": [score], "stopped_share": 0.5, "cost": cost, "notes": []}
    (folder / "result.json").write_text(json.dumps(result))
    output = {"source": "the house", "reference": "la casa", "text": text, "stopped": False, "tokens": 400}
    (folder / "outputs.jsonl").write_text(json.dumps(output) + "\n")
    page.set_viewport_size({"width": 768, "height": 900})
    page.goto(f"{server.address}/compare?runs=r1")
    cell = page.locator(".st-key-outputs_table td").filter(has_text="La casa.")
    cell.wait_for()
    assert cell.inner_text().strip() == text
    reached = cell.evaluate("cell => [cell.getBoundingClientRect().right, cell.scrollWidth - cell.clientWidth]")
    assert reached[0] <= 768
    assert reached[1] <= 1
