"""The form that chooses two checkpoints."""

from __future__ import annotations

import streamlit as st

from dashboard import loaders, state
from dashboard.loaders import PairChoice

DEMO = "Bundled demo"
OWN = "My checkpoints"

_FIELDS = {
    "before": "pair_before",
    "before_revision": "pair_before_revision",
    "after": "pair_after",
    "after_revision": "pair_after_revision",
    "parameter": "pair_parameter",
}
_FILLED_FROM = "kslottery.picker_filled_from"


def show_pair_picker() -> None:
    """Show the form; Compare makes its content the session's choice."""
    choice = state.get_choice().pair
    has_demo = loaders.resolve_choice(PairChoice()) is not None
    if st.session_state.get(_FILLED_FROM) != choice:  # another pair came from the address: show that one
        st.session_state[_FILLED_FROM] = choice
        if choice.before or choice.after:
            for name, key in _FIELDS.items():
                st.session_state[key] = getattr(choice, name) or ""
        st.session_state["pair_source"] = OWN if choice.before or choice.after or not has_demo else DEMO
    with st.container(border=True):
        if has_demo:
            st.segmented_control(
                "What to compare",
                (DEMO, OWN),
                key="pair_source",
                required=True,
                persist_state="session",
                label_visibility="collapsed",
            )
        if st.session_state["pair_source"] == DEMO:
            st.caption(
                "A small translation model that comes with KS-Lottery: as it was trained first, and after its "
                "embeddings were tuned on translation instructions."
            )
        else:
            _show_fields()
        if st.button("Compare", type="primary", icon=":material/compare_arrows:"):
            _take_over()


def _show_fields() -> None:
    for side, label, example in (
        ("before", "Before: the model as it was", "/models/llama or HuggingFaceTB/SmolLM2-135M"),
        ("after", "After: the same model, tuned", "/models/llama-tuned"),
    ):
        source, revision = st.columns([4, 1])
        source.text_input(
            label,
            key=_FIELDS[side],
            placeholder=example,
            persist_state="session",
            help="A model folder, a safetensors, bin or GGUF file, a PEFT adapter, a tuned ticket, or a hub id.",
        )
        revision.text_input(
            f"Revision ({side})",
            key=_FIELDS[f"{side}_revision"],
            placeholder="main",
            persist_state="session",
            help="Branch, tag or commit of a hub id; leave it empty for a path.",
        )
    with st.expander("Advanced"):
        st.text_input(
            "Name of the embedding tensor",
            key=_FIELDS["parameter"],
            placeholder="found from the model's architecture",
            persist_state="session",
            help="Only for a file whose embedding cannot be found by itself, for example model.embed_tokens.weight.",
        )


def _take_over() -> None:
    if st.session_state["pair_source"] == DEMO:
        pair = PairChoice()
    else:
        values = {name: st.session_state.get(key, "").strip() or None for name, key in _FIELDS.items()}
        missing = [name for name in ("before", "after") if values[name] is None]
        if missing:
            asked = " and one ".join(missing)
            st.error(f"Two checkpoints are needed: give one {asked} tuning.")
            return
        pair = PairChoice(**values)
    state.allow_download(pair)
    state.set_pair(pair)
    st.session_state[_FILLED_FROM] = pair
