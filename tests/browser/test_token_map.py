"""The map of all tokens, in a real browser: boxes, the pointer, the keyboard, a threshold that moves, saved files."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

from dashboard.views.tokens import map as token_map_component
from kslottery_core.checkpoints import open_pair
from kslottery_core.demo import DEMO_PATH
from kslottery_core.ks import compute_pair_ks

ADDRESS = "tokens?across=l2_shift&map-scale=linear"


@pytest.fixture(scope="module")
def tokens():
    """The demo's tokens by id, with what the map shows of them: L2 shift across and D up."""
    pair = open_pair(DEMO_PATH / "before", DEMO_PATH / "after")
    result = compute_pair_ks(pair, device="cpu")
    return pd.DataFrame(
        {"label": pair.tokens, "count": result.counts, "x": result.l2_shift, "y": result.counts / result.width}
    )


@pytest.fixture
def token_map(shared_server, page):
    page.goto(f"{shared_server.address}/{ADDRESS}")
    found = page.locator(".map[data-drawn-count]")
    found.wait_for()
    found.scroll_into_view_if_needed()
    return found


def read_pixels(token_map, tokens):
    """Where every token lies on the page, from the ranges that the map states."""
    view, plot = (json.loads(token_map.get_attribute(name)) for name in ("data-view", "data-plot"))
    frame = token_map.locator("canvas.lit").bounding_box()
    return pd.DataFrame(
        {
            "x": frame["x"] + (tokens["x"] - view["x0"]) / (view["x1"] - view["x0"]) * plot["width"],
            "y": frame["y"] + (view["y1"] - tokens["y"]) / (view["y1"] - view["y0"]) * plot["height"],
        }
    )


def drag(page, left, top, right, bottom):
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move((left + right) / 2, (top + bottom) / 2)
    page.mouse.move(right, bottom)
    page.mouse.up()


def wait_for_picked(page, token_ids):
    """Until the address names exactly these tokens."""
    listed = "%2C".join(str(token_id) for token_id in token_ids)
    page.wait_for_url(re.compile(rf"[?&]tokens={listed}(&|$)"))
    return [int(part) for part in parse_qs(urlsplit(page.url).query)["tokens"][0].split(",")]


def order_by_statistic(tokens, inside):
    """Token ids as the table orders them: larger D first, then larger shift, then the smaller id."""
    return list(tokens[inside].sort_values(["count", "x"], ascending=False, kind="stable").index)


def test_a_box_picks_exactly_the_tokens_inside_and_shift_adds(page, token_map, tokens):
    pixels = read_pixels(token_map, tokens)
    # From the eighth-largest D up, and as far right as half of the shifts there.
    high = tokens["y"] >= tokens["y"].nlargest(8).min()
    left, right = pixels["x"][high].min() - 6, pixels["x"][high].median() + 3
    top, bottom = pixels["y"][high].min() - 3, pixels["y"][high].max() + 3
    inside = pixels["x"].between(left, right) & pixels["y"].between(top, bottom)
    assert 2 <= inside.sum() < high.sum()
    drag(page, left, top, right, bottom)
    expected = order_by_statistic(tokens, inside)
    assert wait_for_picked(page, expected) == expected
    page.get_by_text(f"{len(expected)} tokens picked", exact=True).first.wait_for()

    token_map.scroll_into_view_if_needed()
    pixels = read_pixels(token_map, tokens)
    other = order_by_statistic(tokens, high & ~inside)[0]
    near = (pixels - pixels.loc[other]).abs().max(axis=1) < 4
    place = pixels.loc[other]
    page.keyboard.down("Shift")
    drag(page, place["x"] - 4, place["y"] - 4, place["x"] + 4, place["y"] + 4)
    page.keyboard.up("Shift")
    wait_for_picked(page, [*expected, *order_by_statistic(tokens, near)])


def test_the_pointer_shows_the_token_under_it(page, token_map, tokens):
    pixels = read_pixels(token_map, tokens)
    for token_id in order_by_statistic(tokens, tokens["count"] > 0)[:3]:
        page.mouse.move(pixels["x"][token_id] + 1, pixels["y"][token_id] + 1)
        tip = token_map.locator(".tip")
        tip.filter(has_text=f"Token id {token_id}, ").wait_for()
        assert tip.locator("strong").inner_text() == tokens["label"][token_id]
        assert f"({tokens['count'][token_id]} of 128 coordinates)" in tip.inner_text()
        assert f"L2 shift: {tokens['x'][token_id]:.4g}" in tip.inner_text()
    page.mouse.move(0, 0)
    tip.wait_for(state="hidden")


@pytest.mark.parametrize("counted", ["text", "training"])  # 0 for both of them, or once an example
def test_two_winners_on_one_spot_are_both_named_on_the_map_and_under_the_pointer(shared_server, page, tokens, counted):
    first, second = order_by_statistic(tokens, tokens["label"].isin(["English", "Catalan"]))
    assert tokens["count"][first] == tokens["count"][second]
    both = f"{tokens['label'][first]}, {tokens['label'][second]}"
    page.goto(f"{shared_server.address}/tokens?counted={counted}")
    token_map = page.locator(".map[data-drawn-count]")
    token_map.wait_for()
    token_map.scroll_into_view_if_needed()
    label = token_map.locator(".overlay text").filter(has_text=tokens["label"][first])
    label.wait_for()
    assert label.text_content() == both
    canvas, box = token_map.locator("canvas.lit"), label.bounding_box()
    beside = box["x"] - 9 if counted == "text" else box["x"] + box["width"] + 9  # names at the right edge stand left
    page.mouse.move(beside, box["y"] + box["height"] / 2)
    tip = token_map.locator(".tip")
    tip.filter(has_text=both).wait_for()
    assert tip.locator("strong").inner_text() == both
    assert f"2 tokens on this spot; the numbers of {tokens['label'][first]}:" in tip.inner_text()
    canvas.focus()
    page.mouse.move(0, 0)
    tip.wait_for(state="hidden")
    for _ in range(3):  # one winner has a larger D
        canvas.press("ArrowRight")
    said = token_map.get_by_role("status")
    said.filter(has_text="Winner 3 of").wait_for()
    assert (
        f"{tokens['label'][second]}, {tokens['label'][first]}, 2 winners or picked tokens on this spot"
        in said.inner_text()
    )


def test_a_spot_names_up_to_three_tokens_and_of_more_how_many(page):
    folder = Path(token_map_component.__file__).parent
    source = "\n".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in ("axes", "finding"))
    rows = [[0], [1, 0], [2, 1, 0], [0, 1, 2, 3], list(range(1200)), [3]]
    named = page.evaluate(
        "([source, rows]) => new Function('rows', `${source}; const tokens = { labels: Array.from({ length: 1200 },"
        "(_, row) => (row === 3 ? 'a'.repeat(20) : 't' + row)) };"
        "return rows.map((some) => nameTokens({ tokens }, some, 18))`)(rows)",
        [source, rows],
    )
    assert named == ["t0", "t1, t0", "t2, t1, t0", "t0 and 3 more", "t0 and 1,199 more", "a" * 17 + "…"]


def test_winners_are_lit_as_the_threshold_moves_and_nothing_listens_afterwards(shared_server, page, tokens):
    page.add_init_script(
        "window.listening = 0;"
        "for (const [name, step] of [['addEventListener', 1], ['removeEventListener', -1]]) {"
        "  const original = window[name].bind(window);"
        "  window[name] = (type, ...rest) => {"
        "    if (type === 'kslottery:threshold') window.listening += step;"
        "    return original(type, ...rest);"
        "  };"
        "}"
    )
    page.goto(f"{shared_server.address}/{ADDRESS}")
    token_map = page.locator(".map[data-drawn-count]")
    token_map.wait_for()
    assert token_map.get_attribute("data-total-count") == str(len(tokens))
    for least in (30, 12, 1, None, 20):
        lit = 0 if least is None else int((tokens["count"] >= least).sum())
        page.evaluate(
            "detail => window.dispatchEvent(new CustomEvent('kslottery:threshold', { detail }))",
            {"leastCount": least, "size": lit, "label": "a moving rule"},
        )
        page.locator(f'.map[data-lit-count="{lit}"]').wait_for()
        assert f"Winners: {lit:,} (a moving rule)" in token_map.locator(".legend").inner_text()
    assert page.evaluate("window.listening") >= 1
    page.get_by_role("link", name="Studies", exact=True).click()
    page.wait_for_function("window.listening === 0")


def test_a_changed_axis_does_not_send_the_tokens_again(shared_server, page, tokens):
    sizes = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: sizes.append(len(frame))))
    page.goto(f"{shared_server.address}/{ADDRESS}")
    token_map = page.locator(".map[data-drawn-count]")
    token_map.wait_for()
    before = token_map.get_attribute("data-view")
    least = 24 * len(tokens)  # six numbers of four bytes a token, without the labels
    assert max(sizes) > least
    sizes.clear()
    page.get_by_text("Log scale across").click()
    page.wait_for_url(lambda url: "map-scale" not in url)
    page.wait_for_function(
        "before => document.querySelectorAll('[data-testid=stBidiComponentIsolated]').values()"
        ".some(host => { const map = host.shadowRoot?.querySelector('.map');"
        " return map?.dataset.view && map.dataset.view !== before; })",
        arg=before,
    )
    assert sizes
    assert max(sizes) < least / 2


def test_the_keyboard_goes_through_the_winners_and_picks(page, token_map, tokens):
    first, second = order_by_statistic(tokens, tokens["count"] > 0)[:2]
    canvas = token_map.get_by_role("application", name="Map of all tokens")
    canvas.focus()
    canvas.press("ArrowRight")
    canvas.press("ArrowRight")
    said = token_map.get_by_role("status")
    said.filter(has_text="Winner 2 of").wait_for()
    assert tokens["label"][second] in said.inner_text()
    canvas.press("ArrowLeft")
    canvas.press("Enter")
    wait_for_picked(page, [first])
    token_map.locator(".legend").filter(has_text="Picked: 1").wait_for()


def test_shift_and_an_arrow_key_move_the_picture(token_map):
    def read_view():
        return json.loads(token_map.get_attribute("data-view"))

    canvas = token_map.get_by_role("application", name="Map of all tokens")
    canvas.focus()
    canvas.press("+")
    start = read_view()
    width, height = start["x1"] - start["x0"], start["y1"] - start["y0"]
    for key, right, up in (("Right", 0.2, 0), ("Up", 0.2, 0.2), ("Left", 0, 0.2), ("Down", 0, 0)):
        canvas.press(f"Shift+Arrow{key}")
        view = read_view()
        assert view["x0"] == pytest.approx(start["x0"] + right * width)
        assert view["x1"] == pytest.approx(start["x1"] + right * width)
        assert view["y0"] == pytest.approx(start["y0"] + up * height)
        assert view["y1"] == pytest.approx(start["y1"] + up * height)
    assert "Shift and an arrow key move the picture" in token_map.locator("#description").inner_text()


def test_the_map_is_saved_as_svg_and_as_png(page, token_map, tmp_path):
    for name, start in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with page.expect_download() as saved:
            token_map.get_by_role("button", name=f"Download the map as {name}").click()
        path = tmp_path / saved.value.suggested_filename
        saved.value.save_as(path)
        content = path.read_bytes()
        assert content.startswith(start)
        assert len(content) > 5_000
    drawing = (tmp_path / "token_map.svg").read_text()
    assert "L2 shift, the distance between the row before and after" in drawing
    assert drawing.count("<image") == 2
