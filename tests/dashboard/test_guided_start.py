"""What the first page says and offers when there is no pair, a wrong one, or one with an unusual answer."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from dashboard import loaders
from kslottery_core.demo import DEMO_PATH


def read_alerts(app):
    return " ".join(element.value for kind in ("info", "warning", "error") for element in app.get(kind))


def list_links(app):
    return [link.proto.label for link in app.get("page_link")]


@pytest.mark.parametrize("page", ["pair", "tokens", "alpha", "layers"])
def test_one_click_opens_the_demo_where_a_pair_cannot_be_opened(open_app, page, tmp_path, pair_folder, monkeypatch):
    monkeypatch.setattr(loaders, "DEMO_PATH", pair_folder)
    app = open_app(page, with_pair=False, before=str(tmp_path / "nowhere"), after=str(tmp_path / "nor-this"))
    assert "nowhere" in read_alerts(app)
    app.button(key="open_demo").click().run()
    assert not app.error
    assert "the bundled demo" in app.sidebar.caption[0].value
    assert app.query_params == {}


def test_half_a_pair_offers_the_demo_too(open_app, pair_folder, monkeypatch):
    monkeypatch.setattr(loaders, "DEMO_PATH", pair_folder)
    app = open_app("alpha", with_pair=False, before=str(pair_folder / "before"))
    assert "Only one checkpoint is given" in read_alerts(app)
    app.button(key="open_demo").click().run()
    assert app.metric


def test_without_a_demo_none_is_offered(open_app):
    app = open_app("alpha", with_pair=False)
    assert not [button for button in app.button if button.key == "open_demo"]


def test_a_pair_without_a_difference_leads_to_the_other_matrices(open_app, pair_folder):
    app = open_app("pair", after=str(pair_folder / "before"))
    assert "No row differs" in read_alerts(app)
    assert list_links(app)[0] == "See whether another matrix changed"


def test_a_pair_where_every_row_changed_says_why_and_leads_on(open_app, pair_folder, tmp_path):
    shutil.copytree(pair_folder / "after", tmp_path / "rescaled")
    weights = tmp_path / "rescaled" / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.embed_tokens.weight"] *= 1.01
    save_file(tensors, weights, metadata={"format": "pt"})
    app = open_app("pair", after=str(tmp_path / "rescaled"))
    assert "Every row changed.** Full fine-tuning with weight decay" in read_alerts(app)
    assert list_links(app)[:2] == ["See how far each token moved", "See where else the training went"]


def test_a_tied_pair_is_explained_beside_the_numbers(open_app, tied_folder):
    config = json.loads((tied_folder / "after" / "config.json").read_text())
    assert config["tie_word_embeddings"] is True
    app = open_app("pair", before=str(tied_folder / "before"), after=str(tied_folder / "after"))
    assert "This model is tied" in read_alerts(app)
    assert app.metric


def test_an_alpha_that_cannot_be_set_is_not_offered_as_the_next_step(open_app, monkeypatch):
    monkeypatch.setattr(loaders, "DEMO_PATH", DEMO_PATH)  # its last 11 tokens win at 0.9991 and above
    app = open_app("alpha", with_pair=False, alpha="0.999")
    texts = " ".join(element.value for element in app.markdown)
    assert "Next to enter**: nothing up to the largest α that can be set (0.999)" in texts
    assert "**Next to enter**, at" not in texts
