"""A report is put together, taken along as one file, opened without a network, and shown slide by slide."""

import csv
import io
import json
import zipfile
from urllib.parse import parse_qs, urlsplit

import pytest
from browser_waiting import wait_until_still
from playwright.sync_api import expect

from kslottery_core.demo import DEMO_PATH
from kslottery_core.tickets import load_ticket

HOSTILE = "<img src=x onerror=document.title='broken'></script>"
WORDS = f"Look at **these four**\n- {HOSTILE}"
SCREENS = [(1280, 720), (1920, 1080)]
FITS = """() => {
    const main = document.querySelector('[data-testid="stMain"]');
    return main.scrollHeight <= main.clientHeight && main.scrollWidth <= main.clientWidth;
}"""


def open_report(page, server, **address) -> None:
    query = "&".join(f"{name}={value}" for name, value in address.items())
    page.goto(f"{server.address}/report?{query}")
    page.get_by_role("heading", name="Show what was found").wait_for()
    wait_until_still(page)


@pytest.fixture(scope="module")
def report_file(shared_server, browser, tmp_path_factory):
    """The demo's report as a newcomer makes it: three blocks, one word in front, everything by the page's controls."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(shared_server.address)
    page.get_by_role("link", name="Report", exact=True).click()
    page.get_by_role("heading", name="Comparison of runs").wait_for()
    wait_until_still(page)
    page.locator(".st-key-report_remove_comparison button").click()
    page.get_by_role("heading", name="Comparison of runs").wait_for(state="detached")
    page.locator(".st-key-report_remove_pair button").click()
    page.get_by_role("heading", name="What was compared").wait_for(state="detached")
    wait_until_still(page)
    page.get_by_label("Title of the report").fill(f"Found {HOSTILE}")
    page.get_by_label("Title of the report").press("Tab")
    page.get_by_role("heading", name="Found <img").wait_for()
    page.locator(".st-key-report_words_ticket button").click()
    page.get_by_label("Words before The ticket").fill(WORDS)
    page.get_by_label("Words before The ticket").press("Control+Enter")
    page.locator("strong").filter(has_text="these four").wait_for()  # the preview has it, so the file will
    page.keyboard.press("Escape")
    wait_until_still(page)
    assert parse_qs(urlsplit(page.url).query)["blocks"] == ["ticket,curve,threshold,map"]
    page.locator(".stPlotlyChart svg.main-svg").nth(1).wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the report").click()
    path = tmp_path_factory.mktemp("report") / download.value.suggested_filename
    download.value.save_as(path)
    assert page.get_by_test_id("stException").count() == 0
    context.close()
    return path


@pytest.fixture
def opened(browser, report_file):
    """The file in a browser without a network; what it asks for and complains of is noted."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True, accept_downloads=True)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.requests, page.complaints = [], []
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda problem: page.complaints.append(str(problem)))
    page.goto(report_file.as_uri())
    page.wait_for_selector("body[data-drawn=yes]")
    yield page
    context.close()


def test_the_file_draws_its_pictures_without_a_network(opened, report_file):
    assert opened.requests == [report_file.as_uri()]
    assert opened.complaints == []
    assert opened.locator(".picture").count() == 3
    for place in range(3):
        assert opened.locator(".picture").nth(place).locator("svg.main-svg").count() >= 1
    assert opened.locator(".picture .scatterlayer path.js-line").count() == 1
    assert "drawn " in opened.locator(".picture .infolayer").first.text_content()


def test_no_button_of_a_picture_sends_it_anywhere(opened):
    titles = opened.locator(".modebar-btn").evaluate_all("all => all.map((one) => one.getAttribute('data-title'))")
    assert "Zoom" in titles
    assert not [title for title in titles if "hare" in title or "loud" in title]
    assert "cloud.plotly.com" not in opened.evaluate("JSON.stringify(document.querySelector('.picture')._context)")


def test_a_table_that_goes_on_beside_the_page_says_so(opened):
    more = opened.locator("[data-table]").locator("xpath=../..").locator(".more")
    assert more.count() == 1
    assert not more.is_visible()
    opened.set_viewport_size({"width": 300, "height": 900})
    more.wait_for()


def test_hostile_words_and_titles_are_only_text(opened):
    assert HOSTILE in opened.title()
    assert HOSTILE in opened.get_by_role("heading", level=1).inner_text()
    assert opened.locator(".words strong").inner_text() == "these four"
    assert opened.locator(".words li").inner_text() == HOSTILE
    assert opened.locator("img").count() == 0


def test_a_picture_answers_to_the_mouse(opened):
    histogram = opened.locator(".picture").nth(1)
    histogram.scroll_into_view_if_needed()
    box = histogram.locator(".bars path").first.bounding_box()
    for part in (0.4, 0.5):  # plotly.js answers to a mouse that moves; on a log axis bars go on below the picture
        opened.mouse.move(box["x"] + part * box["width"], box["y"] + 4)
    histogram.locator(".hoverlayer .hovertext").first.wait_for()


def take(page, button):
    with page.expect_download() as download:
        button.click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_buttons_of_the_file_save_pictures_and_tables(opened):
    name, content = take(opened, opened.get_by_role("button", name="Save the picture as SVG").first)
    assert name == "02-curve-1.svg"
    assert content.startswith(b"<svg")
    assert b"drawn " in content, "the saved picture says what it rests on"
    name, content = take(opened, opened.get_by_role("button", name="Save the picture as PNG").last)
    assert name == "04-map-1.png"
    assert content.startswith(b"\x89PNG")
    name, content = take(opened, opened.get_by_role("button", name="Save the table as CSV"))
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert sorted(int(row["Id"]) for row in rows) == list(load_ticket(DEMO_PATH / "ticket.json").token_ids)
    name, content = take(opened, opened.get_by_role("button", name="All pictures as PNG"))
    assert name.endswith("-pictures.zip")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["02-curve-1.png", "03-threshold-1.png", "04-map-1.png"]
        assert all(archive.read(name).startswith(b"\x89PNG") for name in archive.namelist())


def test_the_words_are_saved_and_loaded(shared_server, page, tmp_path):
    content = {"version": 1, "title": "Loaded", "author": "Us", "blocks": ["curve"]}
    content["words"] = {"curve": {"before": "from the file", "after": ""}}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    open_report(page, shared_server, blocks="pair")
    # Slow enough that what moves on the page would be seen as new, and closed.
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 8})
    page.get_by_text("Keep these words").click()
    page.locator('input[type="file"]').set_input_files(path)
    page.get_by_role("heading", name="Loaded").wait_for()
    page.get_by_text("from the file").first.wait_for()
    wait_until_still(page)
    _, saved = take(page, page.get_by_role("button", name="Save the words"))
    assert json.loads(saved) == content


def find_number(page):
    return page.get_by_role("group", name="Slides").get_by_role("status")


@pytest.mark.parametrize(("width", "height"), SCREENS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_presenter_goes_through_the_slides_by_keyboard(shared_server, browser, width, height, scheme):
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.set_default_timeout(60_000)
    page = context.new_page()
    open_report(page, shared_server, blocks="ticket,curve,threshold")
    page.get_by_role("button", name="Present", exact=True).click()
    page.get_by_role("button", name="Next slide").wait_for()
    expect(find_number(page)).to_have_text("1 of 4")
    for key, number, title in (
        ("ArrowRight", 2, "The ticket"),
        ("PageDown", 3, "Ticket size against α"),
        (" ", 4, "Where the threshold lies"),
        ("ArrowLeft", 3, "Ticket size against α"),
        ("PageUp", 2, "The ticket"),
        ("End", 4, "Where the threshold lies"),
    ):
        page.keyboard.press(key)
        page.get_by_role("heading", name=title).wait_for()
        page.wait_for_function("number => location.search.includes(`slide=${number}`)", arg=number)
        wait_until_still(page)
        expect(find_number(page)).to_have_text(f"{number} of 4")
        page.wait_for_function(FITS)
        wait_until_still(page)
        assert page.evaluate(FITS), f"{title} needs no scrolling"
        expect(page.get_by_test_id("stSidebar")).to_be_hidden()
    page.locator(".stPlotlyChart svg.main-svg").first.wait_for()
    page.wait_for_function(
        "document.querySelector('.js-plotly-plot').getBoundingClientRect().height > 0.6 * innerHeight"
    )
    assert page.evaluate(FITS)
    size = page.locator(".stPlotlyChart .xtick text").first.evaluate(
        "text => parseFloat(getComputedStyle(text).fontSize)"
    )
    assert size >= 20
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="Show what was found").wait_for()
    page.get_by_role("link", name="Alpha", exact=True).wait_for()
    page.wait_for_function("!location.search.includes('present')")
    context.close()


def test_keys_pressed_faster_than_the_server_answers_are_not_lost(shared_server, page):
    open_report(page, shared_server, blocks="pair,ticket,curve,threshold")
    page.get_by_role("button", name="Present", exact=True).click()
    page.get_by_role("button", name="Next slide").wait_for()
    wait_until_still(page)
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.get_by_role("heading", name="Ticket size against α").wait_for()
    page.wait_for_function("location.search.includes('slide=4')")
    expect(find_number(page)).to_have_text("4 of 5")


def test_a_slide_has_a_link_and_buttons_that_work_without_a_keyboard(shared_server, page):
    page.goto(f"{shared_server.address}/report?blocks=pair,curve&present=yes&slide=3")
    page.get_by_role("heading", name="Ticket size against α").wait_for()
    expect(page.get_by_role("button", name="Next slide")).to_be_disabled()
    page.get_by_role("button", name="Previous slide").click()
    page.get_by_role("heading", name="What was compared").wait_for()
    wait_until_still(page)
    page.get_by_role("button", name="Leave the presentation").click()
    page.get_by_role("heading", name="Show what was found").wait_for()


def turn_to(page, number, total):
    page.wait_for_function("number => location.search.includes(`slide=${number}`)", arg=number)
    wait_until_still(page)
    expect(find_number(page)).to_have_text(f"{number} of {total}")


def is_key_free(page, key):
    """Whether the page lets the browser do what it does by itself with a key."""
    return page.evaluate(
        "key => document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}))", key
    )


def test_keys_and_buttons_may_be_mixed_and_keys_are_free_after_leaving(shared_server, page):
    page.set_viewport_size({"width": 1280, "height": 500})
    open_report(page, shared_server, blocks="pair,ticket,curve,threshold")
    page.get_by_role("button", name="Present", exact=True).click()
    page.get_by_role("button", name="Next slide").wait_for()
    wait_until_still(page)
    for key, number in (("ArrowRight", 2), ("Next", 3), ("ArrowRight", 4), ("Previous", 3), ("ArrowRight", 4)):
        if key.startswith("Arrow"):
            page.keyboard.press(key)
        else:
            page.get_by_role("button", name=f"{key} slide").click()
        turn_to(page, number, 5)
    page.keyboard.press("ArrowLeft")
    turn_to(page, 3, 5)
    assert not is_key_free(page, "PageUp"), "it turns"
    turn_to(page, 2, 5)
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="Show what was found").wait_for()
    page.get_by_role("link", name="Alpha", exact=True).click()
    heading = page.get_by_role("heading", name="How many tokens win?")
    heading.wait_for()
    wait_until_still(page)
    address = page.url
    assert all(is_key_free(page, key) for key in ("ArrowDown", "ArrowRight", " ", "PageDown", "End", "Escape"))
    heading.click()
    page.keyboard.press("PageDown")
    page.wait_for_function("document.querySelector('[data-testid=stMain]').scrollTop > 0")
    assert page.url == address


def test_a_slide_higher_than_the_screen_is_scrolled_before_the_next_one_comes(shared_server, page):
    page.set_viewport_size({"width": 600, "height": 320})
    page.goto(f"{shared_server.address}/report?blocks=pair,curve&present=yes&slide=2")
    page.get_by_role("heading", name="What was compared").wait_for()
    page.get_by_role("button", name="Next slide").wait_for()
    wait_until_still(page)
    main = page.get_by_test_id("stMain")
    page.wait_for_function(
        "() => { const main = document.querySelector('[data-testid=stMain]');"
        " return main.scrollHeight > main.clientHeight + 100; }"
    )
    page.keyboard.press("ArrowDown")
    page.wait_for_function("document.querySelector('[data-testid=stMain]').scrollTop === 40")
    page.keyboard.press("ArrowUp")
    page.wait_for_function("document.querySelector('[data-testid=stMain]').scrollTop === 0")
    expect(find_number(page)).to_have_text("2 of 3")
    main.evaluate("main => main.scrollTo(0, main.scrollHeight)")
    page.keyboard.press("Space")
    turn_to(page, 3, 3)
    page.wait_for_function("document.querySelector('[data-testid=stMain]').scrollTop === 0")
