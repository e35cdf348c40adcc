"""axe-core finds no fault that counts on any page of the demo, light and dark.

Those are the serious and critical ones, and of the moderate ones `RULES`, which are about how our own parts
are arranged.

`EXCEPTIONS` names what is Streamlit's own and cannot be mended here: rule, selector of the faulty element, reason.
"""

import pytest
from browser_waiting import wait_until_still

from dashboard.views.studies.form import build_demo_study
from kslottery_core.demo import DEMO_PATH
from kslottery_core.runs import RunStore
from kslottery_core.studies import StudyStore
from kslottery_core.tickets import load_ticket

GRAVE = ("serious", "critical")
RULES = ("heading-order", "landmark-unique")
EXCEPTIONS: dict[tuple[str, str], str] = {}
PICKED = load_ticket(DEMO_PATH / "ticket.json").token_ids
CERTIFYING_SECONDS = 240
FADED_MILLISECONDS = 600  # what Streamlit fades in has its own colours then


@pytest.fixture(scope="module", params=["light", "dark"])
def lit_page(browser, request):
    """One page for all tests in a colour scheme; the demo stays open in it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=request.param)
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


def find_grave_faults(page) -> list[str]:
    """Rule, element and reason of each fault that counts and is no exception."""
    from axe_playwright_python.sync_playwright import Axe

    faults = []
    for violation in Axe().run(page).response["violations"]:
        if violation["impact"] not in GRAVE and violation["id"] not in RULES:
            continue
        selectors = [selector for rule, selector in EXCEPTIONS if rule == violation["id"]]
        for node in violation["nodes"]:
            place = node["target"][-1]
            if not isinstance(place, str):  # in a shadow root: one selector for each root on the way
                place = place[-1]
            if any(page.locator(selector).and_(page.locator(place)).count() for selector in selectors):
                continue
            faults.append(f"{violation['id']}: {place}: {node['html'][:200]}: {node['failureSummary'][:300]}")
    return faults


def open_page(page, server, address: str, heading: str) -> None:
    page.goto(f"{server.address}/{address}")
    page.get_by_role("heading", name=heading, exact=True).first.wait_for()
    wait_until_still(page, FADED_MILLISECONDS)
    assert page.get_by_test_id("stException").count() == 0


def check_page(page) -> None:
    wait_until_still(page, FADED_MILLISECONDS)
    assert page.get_by_test_id("stException").count() == 0
    assert find_grave_faults(page) == []


@pytest.mark.parametrize(
    ("address", "heading"),
    [
        ("", "Which tokens moved?"),
        (f"tokens?tokens={PICKED[0]}", "Every token"),
        (f"tokens?tokens={PICKED[0]},{PICKED[1]}&story=coordinates", "Every token"),
        (f"tokens?tokens={PICKED[0]}&story=neighbours", "Every token"),
        (f"tokens?tokens={PICKED[0]}&story=text", "Every token"),
        (f"tokens?tokens={PICKED[0]}&story=tickets&overlap=shown", "Every token"),
        ("alpha", "How many tokens win?"),
        ("alpha?alpha=1e-12", "How many tokens win?"),
        ("runs", "Runs"),
        (f"runs?run={RunStore(DEMO_PATH / 'runs').list()[0].run_id}", "Runs"),
        ("compare", "Compare runs"),
        ("report", "Show what was found"),
        ("report?blocks=curve&present=yes&slide=2", "Ticket size against α"),
        ("?before=/no/such/folder&after=/nor/this", "Which tokens moved?"),
    ],
)
def test_a_page_has_no_serious_fault(shared_server, lit_page, address, heading):
    open_page(lit_page, shared_server, address, heading)
    check_page(lit_page)


def test_the_layers_have_no_serious_fault_before_and_after_a_scan(shared_server, lit_page):
    open_page(lit_page, shared_server, "layers", "Do other matrices move?")
    check_page(lit_page)
    scan = lit_page.get_by_role("button", name="Scan the model")
    if scan.count():  # a scan is kept: in the second colour scheme it is there already
        scan.click()
    lit_page.get_by_role("heading", name="All matrices").wait_for()
    check_page(lit_page)


def test_the_checkpoints_have_no_serious_fault_before_and_after_comparing(shared_server, lit_page):
    open_page(lit_page, shared_server, "checkpoints", "Do the same tokens win again?")
    check_page(lit_page)
    lit_page.get_by_role("button", name="demo").click()
    lit_page.get_by_role("heading", name="The numbers").wait_for()
    check_page(lit_page)


def test_the_certificates_have_no_serious_fault_before_and_after_certifying(shared_server, lit_page):
    open_page(lit_page, shared_server, "certificates?sentences=5", "What is certified?")
    check_page(lit_page)
    certify = lit_page.get_by_role("button", name="Certify", exact=True)
    if certify.count():
        certify.click()
    lit_page.get_by_role("heading", name="The certificate", exact=True).wait_for(timeout=1000 * CERTIFYING_SECONDS)
    check_page(lit_page)


def test_the_studies_have_no_serious_fault_without_and_with_a_study(shared_server, lit_page):
    open_page(lit_page, shared_server, "studies", "Studies")
    check_page(lit_page)
    study = StudyStore(shared_server.home / "studies").create(build_demo_study())
    open_page(lit_page, shared_server, f"studies?study={study.study_id}", "Studies")
    lit_page.get_by_text(study.spec.name).filter(visible=True).first.wait_for()
    check_page(lit_page)


def test_the_check_can_fail_and_an_exception_is_narrow(shared_server, lit_page, monkeypatch):
    open_page(lit_page, shared_server, "alpha", "How many tokens win?")
    lit_page.evaluate(
        "for (const name of ['known', 'unknown']) {"
        "  const button = document.createElement('button'); button.id = name; document.body.append(button); }"
    )
    faults = find_grave_faults(lit_page)
    assert len(faults) == 2
    assert all(fault.startswith("button-name: #") for fault in faults)
    monkeypatch.setitem(EXCEPTIONS, ("button-name", "#known"), "a test")
    (fault,) = find_grave_faults(lit_page)
    assert "#unknown" in fault
