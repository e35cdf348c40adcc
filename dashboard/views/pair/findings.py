"""What a pair's changed rows mean before a test is read: nothing moved, all moved, or one matrix at two ends."""

from __future__ import annotations

import streamlit as st

from dashboard.controls.navigation import show_link
from dashboard.loaders import Comparison
from dashboard.wording import TIED_DEFAULT


def show_pair_findings(comparison: Comparison) -> None:
    """Say what is unusual about the pair and where to go on; shows nothing when nothing is."""
    result, pair = comparison.result, comparison.pair
    if result.changed_count == 0:
        with st.container(key="finding_nothing_changed"):
            st.warning(
                "**No row differs.** Both sides hold the same embedding rows, so there is nothing to find. Either the "
                "same checkpoint was given twice, or the tuning left the embeddings alone (as LoRA on the attention "
                "layers does). Choose an after checkpoint whose embeddings were tuned, or look at the other matrices."
            )
            show_link("layers", "See whether another matrix changed")
    elif result.changed_count == result.vocabulary_size:
        reason = (
            "That is what tied models do: the input embedding is also the output layer, and training the output "
            "moves every row a little."
            if pair.tied
            else "Full fine-tuning with weight decay, another numeric type or a rescaled matrix does that."
        )
        with st.container(key="finding_everything_changed"):
            st.info(
                f"**Every row changed.** {reason} A changed row alone says little here; judge by D, and compare with "
                "an after checkpoint where only the embeddings were tuned, with the output layer kept apart."
            )
            show_link("tokens", "See how far each token moved")
            show_link("layers", "See where else the training went")
    if pair.tied:
        st.info(
            "**This model is tied**: one matrix serves as input embedding and as output layer. Training it moves "
            f"every row a little through the output. {TIED_DEFAULT}"
        )
