"""The dial in a real browser: its numbers are Python's at every stop, and what it is left at holds everywhere."""

import re
from pathlib import Path

import numpy as np
import pytest
from browser_waiting import find_metric, wait_until_still
from playwright.sync_api import expect

from dashboard.controls import alpha_dial
from dashboard.wording import format_share
from kslottery_core.checkpoints import open_pair
from kslottery_core.demo import DEMO_PATH
from kslottery_core.ks import compute_pair_ks, format_statistic
from kslottery_core.tickets import (
    compute_least_count,
    compute_ticket_curve,
    compute_ticket_mask,
    round_up,
    select_top_k_ticket,
)

LISTEN = """() => {
    window.thresholds = [];
    window.addEventListener("kslottery:threshold", (event) => window.thresholds.push(event.detail));
}"""

# Every stop from the lowest on, as the page itself tells them; too quick for any of them to be sent.
WALK = """async (handle) => {
    const press = (key) => handle.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    const parts = [...handle.getRootNode().querySelectorAll("[data-part]")];
    const read = () => Object.fromEntries(parts.map((part) => [part.dataset.part, part.textContent]));
    const last = Number(handle.getAttribute("aria-valuemax"));
    const [found, listened] = [[], []];
    window.addEventListener("kslottery:threshold", (event) => listened.push(event.detail));
    press("End");
    press("Home");
    for (let stop = Number(handle.getAttribute("aria-valuemin")); ; stop++) {
        const { leastCount, size } = listened[listened.length - 1];
        found.push({ words: handle.getAttribute("aria-valuetext"), leastCount, size, parts: read() });
        if (Number(handle.getAttribute("aria-valuenow")) !== stop) throw new Error(`stop ${stop} is another one`);
        if (stop === last) return found;
        press("ArrowRight");
    }
}"""

# D at the threshold's line, read off the numbers that stand under the histogram's axis; null where no line is drawn.
READ_LINE = """(handle) => {
    const svg = handle.closest("svg");
    const line = svg.querySelector("line.threshold");
    if (getComputedStyle(line).display === "none") return null;
    const title = [...svg.querySelectorAll("text.title")].find((text) => text.textContent.startsWith("D, largest"));
    const axes = [...svg.querySelectorAll("line.axis")].map((axis) => axis.getBBox());
    const axis = axes.find(({ x, width }) => Math.abs(x + width / 2 - Number(title.getAttribute("x"))) < 1);
    const ticks = [...svg.querySelectorAll("text.tick[text-anchor=middle]")]
        .map((tick) => [Number(tick.getAttribute("x")), Number(tick.textContent), Number(tick.getAttribute("y"))])
        .filter(([x, , y]) => x >= axis.x - 1 && x <= axis.x + axis.width + 1 && y > axis.y && y < axis.y + 40);
    const [first, last] = [ticks[0], ticks[ticks.length - 1]];
    const at = Number(line.getAttribute("x1"));
    return {
        statistic: first[1] + ((at - first[0]) * (last[1] - first[1])) / (last[0] - first[0]),
        isOnAxis: at >= axis.x && at <= axis.x + axis.width,
    };
}"""


@pytest.fixture(scope="module")
def result():
    return compute_pair_ks(open_pair(DEMO_PATH / "before", DEMO_PATH / "after"), device="cpu")


def wait_for_answer(page, address):
    """The address has changed since `address`, and nothing on the page is being computed."""
    page.wait_for_function("address => location.href !== address", arg=address)
    wait_until_still(page)


def open_dial(page, server, query=""):
    page.goto(f"{server.address}/alpha{query}")
    handle = page.get_by_role("slider")
    handle.wait_for()
    page.get_by_test_id("stMetric").first.wait_for()
    wait_until_still(page)
    return handle


def read_level(words):
    return float(words.split(" = ")[1].split(":")[0])


@pytest.mark.parametrize("correction", ["none", "bonferroni", "holm", "bh"])
@pytest.mark.parametrize("method", ["exact", "asymptotic"])
def test_every_stop_has_an_effect_and_the_numbers_that_python_finds(shared_server, page, result, correction, method):
    handle = open_dial(page, shared_server, f"?correction={correction}&p={method}")
    found = handle.evaluate(WALK)
    curve = compute_ticket_curve(result, correction, method)
    reachable = (curve.significance_levels > 1e-12) & (curve.significance_levels <= 0.999)
    sizes = [stop["size"] for stop in found]
    assert sizes == [curve.get_size(1e-12), *curve.sizes[reachable].tolist()]
    assert np.all(np.diff(sizes) > 0)
    for stop in found:
        level = read_level(stop["words"])
        assert stop["size"] == compute_ticket_mask(result, level, correction, method).sum()
        least = compute_least_count(result, level, correction, method)
        assert stop["leastCount"] == least
        assert stop["parts"]["size"].startswith(f"{stop['size']:,} token")
        assert stop["parts"]["cost"].startswith(f"{stop['size'] * result.width:,} parameters")
        expected = (
            "never" if least is None else f"D = {format_statistic(least / result.width)} ({least} of {result.width})"
        )
        assert expected in stop["parts"]["from"]


def test_every_number_of_tokens_is_a_stop_and_ties_are_told(shared_server, page, result):
    found = open_dial(page, shared_server, "?top=4").evaluate(WALK)
    ranked = np.sort(result.counts)[::-1]
    moved = int((ranked > 0).sum())
    assert [stop["size"] for stop in found] == list(range(1, moved + 1))
    assert [stop["leastCount"] for stop in found] == ranked[:moved].tolist()
    for stop in (found[0], found[1], found[20], found[-1]):
        tied = int((ranked == stop["leastCount"]).sum())
        taken = stop["size"] - int((ranked > stop["leastCount"]).sum())
        assert (f"the {taken:,} of them with the larger L2 shift" in stop["parts"]["words"]) == (taken < tied)
        assert select_top_k_ticket(result, stop["size"]).least_count == stop["leastCount"]


def test_dragging_tells_the_window_at_once_and_python_on_release(shared_server, page):
    handle = open_dial(page, shared_server)
    page.evaluate(LISTEN)
    before, address = find_metric(page, "Tokens in the ticket").inner_text(), page.url
    box = page.get_by_role("slider").locator(".grip").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y, steps=4)
    page.mouse.move(x + 22, y, steps=8)
    told = page.evaluate("window.thresholds")
    dragged = told[-1]
    assert len({stop["size"] for stop in told}) >= 3
    assert set(dragged) == {"leastCount", "size", "label"}
    assert (find_metric(page, "Tokens in the ticket").inner_text(), page.url) == (before, address)
    assert f"{dragged['size']} tokens" in handle.get_attribute("aria-valuetext")
    page.mouse.up()
    wait_for_answer(page, address)
    expect(find_metric(page, "Tokens in the ticket")).to_have_text(str(dragged["size"]))
    expect(page.get_by_label("α as a number")).to_have_value(dragged["label"].removeprefix("α = "))
    page.get_by_text("Since α = 0.05", exact=True).wait_for()
    expect(handle).to_have_attribute("aria-valuetext", re.compile(rf": {dragged['size']} tokens"))
    page.get_by_role("link", name="Pair", exact=True).click()
    expect(find_metric(page, "Winning tokens")).to_have_text(str(dragged["size"]))


@pytest.mark.parametrize(
    ("query", "extras"),
    [("", ""), ("?correction=bonferroni", ", Bonferroni"), ("?correction=bh&p=asymptotic", None), ("?top=4", "")],
)
def test_a_moving_rule_has_the_words_that_python_gives_it(shared_server, page, query, extras):
    handle = open_dial(page, shared_server, query)
    page.evaluate(LISTEN)
    handle.press("ArrowRight")
    (told,) = page.evaluate("window.thresholds")
    extras = ", Benjamini-Hochberg, the paper's threshold" if extras is None else extras
    rest = (
        handle.get_attribute("aria-valuetext").split(":")[0]
        if "top" not in query
        else "the 5 tokens with the largest D"
    )
    assert told["label"] == rest + extras
    page.get_by_text(told["label"]).first.wait_for()  # as the sidebar names the rule that was sent


def test_the_browser_writes_numbers_as_python_does(page):
    shares = [(part, 32_000) for part in (0, 1, 2, 3, 5, 40, 1_000, 3_000, 31_983, 31_984, 31_990, 31_999, 32_000)]
    shares += [(part, 128) for part in range(129)] + [(9, 800), (1, 262_144), (26, 262_144)]
    levels = [1e-5, 0.05, 1e-12, 0.3, float(np.nextafter(0.05, 1)), 1.19817e-05, 0.26827, 0.99991, 3.3e-300]
    source = (Path(alpha_dial.__file__).parent / "numbers.js").read_text(encoding="utf-8")
    written, rounded = page.evaluate(
        "([source, shares, levels]) => new Function('shares', 'levels', `${source}; return ["
        "shares.map(([part, whole]) => formatShare(part, whole)), levels.map((level) => roundUp(level, 4))]`)"
        "(shares, levels)",
        [source, shares, levels],
    )
    assert written == [format_share(*share) for share in shares]
    assert rounded == [round_up(level) for level in levels]


def test_escape_gives_a_drag_up(shared_server, page):
    handle = open_dial(page, shared_server)
    words, box = handle.get_attribute("aria-valuetext"), handle.locator(".grip").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] - 200, box["y"] + 10, steps=3)
    assert handle.get_attribute("aria-valuetext") != words
    page.keyboard.press("Escape")
    page.mouse.up()
    assert handle.get_attribute("aria-valuetext") == words
    assert "alpha=" not in page.url


def test_keys_move_the_dial_and_are_sent_once_when_they_rest(shared_server, page, result):
    handle = open_dial(page, shared_server)
    address, curve = page.url, compute_ticket_curve(result)
    handle.focus()
    for key in ("Home", "ArrowRight", "ArrowUp", "PageUp", "ArrowLeft"):
        page.keyboard.press(key)
    words = handle.get_attribute("aria-valuetext")
    wait_for_answer(page, address)
    size = curve.get_size(read_level(words))
    expect(find_metric(page, "Tokens in the ticket")).to_have_text(str(size))
    page.get_by_text("Since α = 0.05", exact=True).wait_for()  # nothing was sent on the way
    assert handle.evaluate("handle => handle.getRootNode().activeElement === handle")
    address = page.url
    page.keyboard.press("End")
    wait_for_answer(page, address)
    expect(find_metric(page, "Tokens in the ticket")).to_have_text(str(curve.get_size(0.999)))


def test_what_is_typed_moves_the_handle_and_a_wrong_number_does_not(shared_server, page):
    handle = open_dial(page, shared_server)
    field, address = page.get_by_label("α as a number"), page.url
    field.fill("0,3")
    field.press("Enter")
    wait_for_answer(page, address)
    expect(handle).to_have_attribute("aria-valuetext", re.compile("^α = 0.3: "))
    size = handle.get_attribute("aria-valuetext").removeprefix("α = 0.3: ").removesuffix(" tokens")
    expect(find_metric(page, "Tokens in the ticket")).to_have_text(size)
    field.fill("three")
    field.press("Enter")
    page.get_by_text("found 'three'; α stays at 0.3").wait_for()
    assert handle.get_attribute("aria-valuetext").startswith("α = 0.3: ")


def test_a_number_of_tokens_is_dragged_like_alpha(shared_server, page):
    handle = open_dial(page, shared_server)
    size, address = find_metric(page, "Tokens in the ticket").inner_text(), page.url
    page.get_by_text("By number of tokens").click()
    wait_for_answer(page, address)
    page.get_by_label("Number of tokens", exact=True).first.wait_for()
    expect(handle).to_have_attribute("aria-valuetext", re.compile(rf"^{size} tokens"))
    address, box = page.url, handle.locator(".grip").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 110, box["y"] + 10, steps=5)
    chosen = int(handle.get_attribute("aria-valuenow"))
    page.mouse.up()
    assert chosen > int(size)
    wait_for_answer(page, address)
    assert f"top={chosen}" in page.url
    expect(find_metric(page, "Tokens in the ticket")).to_have_text(str(chosen))
    page.get_by_text(f"the {chosen} tokens with the largest D").first.wait_for()


@pytest.mark.parametrize(("label", "start"), [("SVG", b"<svg"), ("PNG", b"\x89PNG")])
def test_the_dial_is_saved_as_a_picture(shared_server, page, tmp_path, label, start):
    open_dial(page, shared_server)
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save the picture as {label}: ticket size").click()
    assert download.value.suggested_filename == f"ticket-size.{label.lower()}"
    download.value.save_as(tmp_path / "picture")
    content = (tmp_path / "picture").read_bytes()
    assert content.startswith(start)
    if label == "SVG":
        assert "wins from D = 0.1719" in content.decode()
        assert "var(--" not in content.decode()


def test_the_axis_begins_where_tokens_begin_to_win_and_its_left_end_is_the_empty_ticket(shared_server, page):
    handle = open_dial(page, shared_server, "?alpha=0.5")
    axis = page.get_by_text("α, the significance level (log scale; no token wins further left)")
    axis.wait_for()
    expect(page.get_by_text("10⁻⁶", exact=True)).to_have_count(1)  # the demo's first token wins at 1.2e-5
    assert page.get_by_text("10⁻⁷", exact=True).count() == 0
    box = handle.locator(".grip").bounding_box()
    y, left = box["y"] + box["height"] / 2, axis.bounding_box()["x"]
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(left - 60, y, steps=6)
    assert handle.get_attribute("aria-valuetext") == "α = 1e-12: 0 tokens"
    page.keyboard.press("Escape")
    page.mouse.up()


@pytest.mark.parametrize(
    "query", ["?alpha=0.05", "?alpha=1e-6", "?alpha=1e-12&correction=bonferroni", "?alpha=1e-5&correction=holm"]
)
def test_the_threshold_stands_at_its_d_on_the_axis_even_where_no_token_reaches_it(shared_server, page, query):
    handle = open_dial(page, shared_server, query)
    told = handle.evaluate("handle => handle.getRootNode().querySelector('[data-part=from]').textContent")
    line = handle.evaluate(READ_LINE)
    assert line["isOnAxis"]
    # Half a count: a bar stands from its count to the next one.
    assert line["statistic"] == pytest.approx(float(told.split("D = ")[1].split(" ")[0]), abs=0.5 / 128)


def test_the_axis_of_d_grows_to_the_threshold_and_shrinks_again_while_the_handle_moves(shared_server, page, result):
    handle = open_dial(page, shared_server)
    largest = result.statistics.max()
    handle.focus()
    page.keyboard.press("Home")
    empty = handle.evaluate(READ_LINE)
    assert handle.get_attribute("aria-valuetext") == "α = 1e-12: 0 tokens"
    least = compute_least_count(result, 1e-12)
    assert empty == {"statistic": pytest.approx(least / result.width, abs=0.5 / 128), "isOnAxis": True}
    assert empty["statistic"] > largest
    page.keyboard.press("ArrowRight")
    assert handle.evaluate(READ_LINE) == {"statistic": pytest.approx(largest, abs=0.5 / 128), "isOnAxis": True}
    page.keyboard.press("Escape")
    assert handle.get_attribute("aria-valuetext").startswith("α = 0.05: ")


def test_the_axis_of_d_is_as_long_as_the_tokens_and_the_threshold_need(page):
    source = (Path(alpha_dial.__file__).parent / "numbers.js").read_text(encoding="utf-8")
    drawn = page.evaluate(
        "source => new Function(`${source}; const table = Object.assign(Object.create(Table.prototype), "
        "{ largestCount: 9, width: 32 }); return [null, 4, 9, 10, 20, 31, 32]"
        ".map((leastCount) => table.countDrawn({ leastCount }))`)()",
        source,
    )
    assert drawn == [10, 10, 10, 12, 23, 33, 33]
