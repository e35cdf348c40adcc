"""Whatever is drawn can be taken along."""

import pytest


@pytest.mark.parametrize(("label", "start"), [("SVG", b"<svg"), ("PNG", b"\x89PNG")])
def test_a_picture_is_saved_in_the_format_of_the_button(server, page, tmp_path, label, start):
    page.goto(server.address)
    page.locator(".js-plotly-plot svg.main-svg").first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save the picture as {label}").first.click()
    assert download.value.suggested_filename == f"pair-histogram.{label.lower()}"
    download.value.save_as(tmp_path / "picture")
    content = (tmp_path / "picture").read_bytes()
    assert content.startswith(start)
    assert len(content) > 5_000
