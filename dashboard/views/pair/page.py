"""The first page: which two checkpoints are compared, and what the comparison found at a glance."""

from __future__ import annotations

import streamlit as st

from dashboard import loaders, state
from dashboard.controls.empty_ticket import show_empty_ticket
from dashboard.controls.metric_row import ShownNumber, show_metric_row
from dashboard.controls.navigation import show_link
from dashboard.controls.pair_header import load_shown_comparison
from dashboard.controls.picture import show_picture
from dashboard.controls.ticket_figures import statistic_histogram_figure, summarise_result
from dashboard.loaders import Comparison, PairChoice, SelectedTicket
from dashboard.state.rule import describe_ties
from dashboard.wording import (
    TIED_DEFAULT,
    escape_markdown,
    format_code,
    format_count,
    format_noun,
    format_number,
    format_seconds,
    format_share,
)
from kslottery_core.tickets.summary import summarise_pair, summarise_ranked_neighbours


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


def render() -> None:
    """Show the picker, then what the chosen pair is."""
    st.title("Which tokens moved?")
    st.markdown(
        "Two versions of one language model, before and after tuning. For every token, the values of its embedding "
        "row are compared with a Kolmogorov-Smirnov test; the tokens whose distribution moved furthest are the "
        "*winning ticket*."
    )
    show_pair_picker()
    comparison = load_shown_comparison(on_pair_page=True)
    if comparison is None:
        return
    selection = loaders.load_selection(comparison, state.get_choice().alpha)
    _show_numbers(comparison, selection)
    show_pair_findings(comparison)
    show_empty_ticket(comparison, selection)
    _show_overview(comparison, selection)
    _show_details(comparison)


def _show_numbers(comparison: Comparison, selection: SelectedTicket) -> None:
    result, alpha = comparison.result, state.get_choice().alpha
    numbers = summarise_pair(result)
    furthest = numbers.furthest_token_id
    show_metric_row(
        [
            ShownNumber(
                "Tokens compared",
                format_count(result.vocabulary_size),
                f"{format_count(result.width)} coordinates a row",
            ),
            ShownNumber(
                "Rows changed",
                format_count(result.changed_count),
                format_share(result.changed_count, result.vocabulary_size),
            ),
            ShownNumber(
                "Largest D",
                format_number(numbers.largest_statistic),
                None if furthest is None else f"token {comparison.pair.tokens[furthest]}",
                "D is the largest gap between the distributions of a row's values before and after: 0 where they are "
                "the same, 1 where they share nothing.",
            ),
            ShownNumber(
                f"Winning tokens {state.describe_place(alpha)}",
                format_count(selection.ticket.size),
                format_share(selection.ticket.size, result.vocabulary_size),
            ),
        ]
    )


def _show_overview(comparison: Comparison, selection: SelectedTicket) -> None:
    result = comparison.result
    if result.changed_count == 0:
        return
    st.header("How far the tokens moved")
    summary = summarise_result(result, selection.ticket.least_count)
    show_picture(
        statistic_histogram_figure(summary),
        key="pair_histogram",
        alt="Number of tokens by D, winners in their own colour",
    )
    if state.get_choice().alpha.top_k is not None:
        edge = summarise_ranked_neighbours(result.counts, result.l2_shift, selection.winners)
        if edge.tied > edge.taken:
            st.caption(f"{describe_ties(edge, result.width)} The picture shows all of them as winners.")
    if summary.unchanged:
        st.caption(
            f"{format_noun(summary.unchanged, 'token')} whose row did not change at all are left out of the picture."
        )
    links = st.columns(3)
    with links[0]:
        show_link("tokens", "See every token")
    with links[1]:
        show_link("alpha", "Set how many tokens win")
    with links[2]:
        show_link("runs", "Tune the ticket")


def _show_details(comparison: Comparison) -> None:
    pair, result = comparison.pair, comparison.result
    with st.expander("What was compared", expanded=True):
        tied = {
            True: "yes, one matrix serves both",
            False: "no, they are two matrices",
            None: "cannot be told from what was given",
        }[pair.tied]
        sides = st.columns(2)
        for column, title, side in ((sides[0], "Before", pair.before), (sides[1], "After", pair.after)):
            column.markdown(
                f"**{title}**  \n{format_code(side.source)}  \nTensor {format_code(side.parameter)}  \n"
                f"{side.shape[0]:,} rows of {side.shape[1]:,} values, stored as {side.dtype}"
            )
        extra = [
            f"{format_noun(len(rows), 'row')} only in the {name} checkpoint, not compared"
            for rows, name in ((pair.only_before, "before"), (pair.only_after, "after"))
            if len(rows)
        ]
        how = "taken from an earlier comparison of the same files" if comparison.from_cache else "just computed"
        lines = [
            f"Input and output embedding shared (tied): {tied}",
            *extra,
            f"Computed on {result.device.upper() if result.device == 'cpu' else result.device} in "
            f"{format_seconds(result.seconds)} ({how})",
            *pair.notes,
            *result.notes,
        ]
        st.markdown("\n".join(f"- {escape_markdown(line)}" for line in lines))
