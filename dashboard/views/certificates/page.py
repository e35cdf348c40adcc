"""What is certified: for which predictions the ticket's rows alone are certain to give what all tuned rows give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.controls.empty_ticket import offer_level
from dashboard.controls.metric_row import ShownNumber, show_metric_row
from dashboard.controls.pair_header import find_shown_pair, load_shown_comparison, show_pair_line
from dashboard.controls.picture import show_picture
from dashboard.report.csv_file import build_csv
from dashboard.views.certificates.check import show_certificate_check
from dashboard.views.certificates.controls import Entries, show_certificate_entries, show_certify_button, watch_works
from dashboard.views.certificates.figures import (
    certificate_curve_figure,
    find_least_certifying_level,
    get_tally,
    is_anything_certified,
    is_on_curve,
    margin_figure,
    summarise_certificates,
    summarise_margins,
)
from dashboard.views.certificates.loading import (
    find_counting_path,
    find_kept_path,
    forget_certificate,
    load_kept_certificate,
)
from dashboard.views.certificates.sentences import describe_columns, show_sentences
from dashboard.views.certificates.tables import (
    LOGIT_COLUMNS,
    build_curve_table,
    build_lost_table,
    build_violation_table,
)
from dashboard.wording import (
    CERTIFIED_KINDS,
    CERTIFIED_TEXTS,
    escape_markdown,
    format_code,
    format_count,
    format_formula,
    format_moment,
    format_noun,
    format_number,
    format_seconds,
    format_share,
)
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from dashboard.loaders import PairChoice
    from kslottery_core.certification import Certification
    from kslottery_core.tickets import Ticket

_MOST_NAMED = 5
_NOT_REMOVED = "kslottery.certificate_not_removed"
_KIND_NOUNS = {"predictions": "prediction", "outputs": "output"}


def render() -> None:
    """Show the entries and the button; with a certificate of these entries kept, all that it says."""
    st.title("What is certified?")
    st.markdown(
        "Keep only the tuned rows of the ticket's tokens and leave all other rows as they were: for which predictions "
        "is this partial model certain to agree with the fully embedding-tuned model? A certificate counts them on a "
        "text, states its assumption, and compares the result with what both models actually predict."
    )
    choice, entries, path = _show_entries()
    watch_works()
    if path is not None and entries.task is not None:
        _show_certification(path, entries.task.ticket)
    show_certificate_check(path, choice, entries.path)


def _show_entries() -> tuple[PairChoice | None, Entries, Path | None]:
    """The open pair, what was entered, and the file with a certificate of it; None where there is none."""
    comparison = load_shown_comparison()
    if comparison is None or find_shown_pair(all_weights=True) is None:
        return None, Entries(), None
    show_pair_line(comparison)
    with st.container(border=True):
        entries = show_certificate_entries(comparison)
        path, problem = None, None
        if entries.task is not None:
            try:
                path = find_kept_path(entries.task)
            except KSLotteryError as found:
                problem = found
        return comparison.choice, entries, _show_certify(entries, path, problem)


def _show_certify(entries: Entries, path: Path | None, problem: KSLotteryError | None) -> Path | None:
    """The file of the certificate to show; unless it is of this very ticket, the button, and what prevents its use."""
    try:
        if path is not None and load_kept_certificate(path) is not None:
            return path
    except KSLotteryError as damage:
        st.error(escape_markdown(str(damage)))
        refused = st.session_state.pop(_NOT_REMOVED, None)
        if refused is not None:
            st.error(escape_markdown(refused))
        st.button("Remove this file and certify again", key="forget_certificate", on_click=_forget, args=(path,))
        return None
    if entries.problem is not None:
        (st.info if entries.missing else st.error)(escape_markdown(entries.problem))
    counting = None if entries.task is None or path is None else find_counting_path(entries.task)
    show_certify_button(entries.task, path, problem, counted=counting is not None)
    return counting


def _forget(path: Path) -> None:
    try:
        forget_certificate(path)
    except KSLotteryError as problem:
        st.session_state[_NOT_REMOVED] = str(problem)


def _show_certification(path: Path, ticket: Ticket) -> None:
    """The certificate in this file, with `ticket` as the chosen one."""
    kept = load_kept_certificate(path)
    if kept is None:  # removed a moment ago
        return
    certification = kept.choose_ticket(ticket) or kept
    st.header("The certificate")
    _show_meaning(certification)
    kind = _choose_kind()
    _show_numbers(certification, kind)
    _show_curve(certification, kind)
    if certification.sentences:
        st.subheader("Sentence by sentence")
        show_sentences(certification)
        _show_margins(certification)
    _show_violations(certification, [sentence.source for sentence in kept.sentences])
    _show_file(kept, path)


def _show_meaning(certification: Certification) -> None:
    """What each level means and assumes, and what none of them says."""
    lines = [
        f"- **Certified, {escape_markdown(level.title)}.** {escape_markdown(format_formula(level.definition))}"
        for level in certification.levels
    ]
    lines.append(
        "- **Measured.** Both models were run on the text and compared. A *violation* is a prediction that is "
        "certified although the partial model predicts something else."
    )
    st.markdown("\n".join(lines))
    assumptions = [level.assumption for level in certification.levels if level.assumption]
    st.info(" ".join(escape_markdown(text) for text in (*assumptions, certification.statement)), icon=":material/info:")


def _choose_kind() -> str:
    """The switch between single predictions and whole outputs."""
    st.session_state["certificate_kind"] = state.get_choice().certificates.kind
    return st.segmented_control(
        "Count",
        list(CERTIFIED_KINDS),
        format_func=CERTIFIED_KINDS.__getitem__,
        key="certificate_kind",
        required=True,
        on_change=lambda: state.change("certificates", kind=st.session_state["certificate_kind"]),
        help="Every next token of the reference translations, the end token included, given all tokens before it; or "
        "whole outputs, which are certified if every step of the embedding-tuned model's own output is.",
    )


def _show_numbers(certification: Certification, kind: str) -> None:
    """The counts for the chosen ticket, always with its violations."""
    tally = get_tally(certification.chosen, kind)
    counts = [(level, tally.get_level(level.name)) for level in certification.levels]
    of_all = f"of {format_noun(tally.total, _KIND_NOUNS[kind])}"
    violations = counts[-1][1].violations
    show_metric_row(
        [
            *(
                ShownNumber(
                    f"Certified, {level.title}",
                    format_share(found.certified, tally.total),
                    f"{found.certified:,} {of_all}",
                    format_formula(level.definition),
                )
                for level, found in counts
            ),
            ShownNumber(
                "Agreement, measured",
                format_share(tally.agreed, tally.total),
                f"{tally.agreed:,} {of_all}",
                "How often the partial model predicts the same as the embedding-tuned one, certified or not.",
            ),
            ShownNumber(
                "Violations",
                format_count(violations),
                f"of {counts[-1][1].certified:,} certified by the {counts[-1][0].title}",
                "Certified, yet the partial model differs.",
            ),
        ]
    )
    show_metric_row(
        [
            *(
                ShownNumber(
                    f"{level.title[:1].upper()}{level.title[1:]}, and correct",
                    format_share(found.correct, tally.total),
                    f"{found.correct:,} {of_all}",
                    "Certified, and equal to the reference translation.",
                )
                for level, found in counts
            ),
            ShownNumber(
                "Accuracy, tuned model",
                format_share(tally.reference_correct, tally.total),
                f"{tally.reference_correct:,} {of_all}",
                "How often the embedding-tuned model predicts exactly the reference translation.",
            ),
            ShownNumber(
                "Accuracy, partial model",
                format_share(tally.partial_correct, tally.total),
                f"{tally.partial_correct:,} {of_all}",
                "The same for the model that keeps only the ticket's tuned rows.",
            ),
        ]
    )
    _warn_of_violations(certification, kind)
    _explain_none(certification, kind)
    _describe_larger_tickets(certification, kind)
    exact = certification.chosen.largest_exact_difference
    if exact is not None:
        st.caption(
            "Largest difference of any logit between the two models at predictions certified as exact: "
            f"{format_number(exact)}."
        )


def _describe_larger_tickets(certification: Certification, kind: str) -> None:
    """For how many predictions every larger ticket was tried; nothing where that was not requested."""
    tried = certification.chosen.larger_tickets
    if tried is None:
        return
    not_tried, lost, noun = (
        (tried.not_tried, tried.lost, "next-token prediction")
        if kind == "predictions"
        else (tried.output_steps_not_tried, tried.output_steps_lost, "single step of an output")
    )
    plural = {"single step of an output": "single steps of outputs"}.get(noun)
    st.caption(
        f"Every larger ticket: {format_noun(not_tried, noun, plural)} not tried, since more than "
        f"{format_noun(certification.task.larger_ticket_limit, 'token')} are left behind there; {lost:,} lost, because "
        "some ticket that contains this one changes the prediction, or leaves it a margin within rounding error."
    )


def _warn_of_violations(certification: Certification, kind: str) -> None:
    chosen, last = certification.chosen, certification.levels[-1].name
    counts = {
        "next-token prediction": chosen.predictions.get_level(last).violations,
        "whole output": chosen.outputs.get_level(last).violations,
        "single step of an output": chosen.output_step_violations.get(last, 0),
    }
    if any(counts.values()):
        plurals = {"single step of an output": "single steps of outputs"}
        told = ", ".join(format_noun(count, noun, plurals.get(noun)) for noun, count in counts.items() if count)
        st.warning(
            f"**Certified, yet different: {told}.** The certificate's assumption does not hold for this model there; "
            "each case is listed under Violations below."
        )
    elsewhere = [
        point
        for point in certification.grid
        if get_tally(point, kind).get_level(last).violations and point.ticket_size != chosen.ticket_size
    ]
    if elsewhere:
        levels = [format_number(point.significance_level) for point in elsewhere]
        told = (
            ", ".join(levels) if len(levels) <= _MOST_NAMED else f"{len(levels)} of them, {levels[0]} to {levels[-1]}"
        )
        st.warning(f"There are violations at other α of the grid too: {told}. They are marked in the picture.")


def _explain_none(certification: Certification, kind: str) -> None:
    chosen = certification.chosen
    tally = get_tally(chosen, kind)
    if is_anything_certified(tally) or not tally.total:
        return
    text = "reference" if kind == "predictions" else "output"
    least_bound, least = None, ""
    if certification.sentences:
        least_bound = summarise_margins(*certification.collect_margins(text)).least_bound
    if least_bound is not None:
        least = f" The smallest bound, twice the sum of D left behind, is {format_number(least_bound)}"
        least += "; no margin is above 1." if least_bound >= 1 else "."
    st.info(
        f"**Nothing is certified with this ticket.** {format_noun(chosen.left_behind, 'changed token')} of the text "
        f"{'is' if chosen.left_behind == 1 else 'are'} left behind.{least} This does not prove a difference: see "
        "the measured agreement."
    )
    if state.get_choice().certificates.rows == "alpha":
        offer_level(find_least_certifying_level(certification, kind), "certificate_level", top_k=None)


def _show_curve(certification: Certification, kind: str) -> None:
    """All shares against alpha, and the same numbers in a table."""
    title, axis = st.columns([4, 1.6], vertical_alignment="bottom")
    title.subheader("What is certified, and what holds, against α")
    st.session_state["certificate_log_axis"] = state.get_choice().certificates.log_axis
    log_axis = axis.toggle(
        "Log axis of α",
        key="certificate_log_axis",
        on_change=lambda: state.change("certificates", log_axis=st.session_state["certificate_log_axis"]),
        help="As on the Alpha page. Otherwise a log-odds axis, which also gives room to α near 1, where most is "
        "certified.",
    )
    curve = summarise_certificates(certification, kind)
    show_picture(
        certificate_curve_figure(curve, log_axis=log_axis),
        key="certificate_curve",
        alt="Certified shares, agreement and accuracies against alpha",
    )
    st.caption(
        "Each α of the grid gives a ticket (no correction, exact p-value); identical tickets were computed once: "
        f"{format_noun(certification.distinct_tickets, 'different ticket')}."
        + ("" if is_on_curve(certification) else " The chosen ticket is not one of them, so no α is marked.")
    )
    table = build_curve_table(certification)
    with st.expander("The picture in numbers"):
        st.dataframe(table, hide_index=True, key="certificate_curve_table", alt="Counts at every alpha")
        st.download_button(
            "These numbers as CSV",
            data=build_csv(table),
            file_name="certified-by-alpha.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            key="certificate_curve_csv",
        )


def _show_margins(certification: Certification) -> None:
    """How large the margins are, and the bounds that they have to exceed."""
    st.subheader("Margins and bounds")
    text = state.get_choice().certificates.text
    summary = summarise_margins(*certification.collect_margins(text))
    show_picture(
        margin_figure(summary),
        key="certificate_margins",
        alt="Distributions of margins and of bounds",
    )
    total = format_noun(summary.total, "prediction")
    parts = [f"{CERTIFIED_TEXTS[text]}s, {total}: {summary.certain:,} margins exceed their own bound"]
    if summary.without_bound:
        parts.append(f"{summary.without_bound:,} have nothing left behind, so their bound is 0 and not shown")
    if summary.tied:
        parts.append(f"{summary.tied:,} have a margin of 0 or below and are not shown")
    if summary.undefined:
        parts.append(f"{summary.undefined:,} have no margin, because the model's logits are not numbers")
    st.caption("; ".join(parts) + ".")


def _show_violations(certification: Certification, sources: Sequence[str]) -> None:
    """Every listed violation of the chosen ticket, or that there is none; `sources` are the sentences' source texts."""
    st.subheader("Violations")
    chosen, last = certification.chosen, certification.levels[-1].name
    total = chosen.predictions.get_level(last).violations + chosen.output_step_violations.get(last, 0)
    if not total:
        st.success(
            "None with this ticket: wherever a prediction was certified, the partial model predicted the same."
            if is_anything_certified(chosen.predictions) or is_anything_certified(chosen.outputs)
            else "None with this ticket, since nothing was certified.",
            icon=":material/check:",
        )
        _show_lost(certification, sources)
        return
    table = build_violation_table(certification, sources)
    st.dataframe(
        table,
        hide_index=True,
        key="certificate_violations",
        column_config=describe_columns(),
        alt="Certified predictions for which the partial model differs",
    )
    if len(table) < total:
        st.caption(f"Only the first {len(table):,} of {total:,} are listed; all are counted.")
    st.download_button(
        "Violations as CSV",
        data=build_csv(table),
        file_name="violations.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="certificate_violations_csv",
    )
    _show_lost(certification, sources)


def _show_lost(certification: Certification, sources: Sequence[str]) -> None:
    """Predictions that some larger ticket changes, which the ticket's own measured agreement cannot show."""
    tried = certification.chosen.larger_tickets
    if tried is None or not tried.listed:
        return
    st.markdown("**Lost under a larger ticket.** Some ticket that contains this one changes these predictions.")
    st.dataframe(
        build_lost_table(certification, sources),
        hide_index=True,
        key="certificate_lost",
        column_config={name: st.column_config.NumberColumn(format="%.3f") for name in LOGIT_COLUMNS},
        placeholder="not a number",
        alt="Predictions that a larger ticket changes",
    )
    total = tried.lost + tried.output_steps_lost
    if len(tried.listed) < total:
        st.caption(f"Only the first {len(tried.listed):,} of {total:,} are listed; all are counted.")


def _show_file(certification: Certification, path: Path) -> None:
    st.subheader("The certificate as a file")
    st.markdown(
        f"{format_noun(len(certification.sentences), 'sentence')}, {escape_markdown(certification.decoding)}; made in "
        f"{format_seconds(certification.seconds)} on {escape_markdown(certification.device)}, "
        f"{format_moment(path.stat().st_mtime)}. It contains fingerprints of both checkpoints, the "
        "text and the prompt, and the ticket, levels, assumption, counts and versions."
    )
    st.download_button(
        "Download the certificate",
        data=path.read_bytes(),
        file_name="certificate.json",
        mime="application/json",
        icon=":material/download:",
        on_click="ignore",
        key="certificate_json",
    )
    with st.expander("Fingerprints and versions"):
        lines = [
            ("Before, input embedding", certification.before.embedding),
            ("Before, all other parameters", certification.before.parameters),
            ("After, input embedding", certification.after.embedding),
            ("After, all other parameters", certification.after.parameters),
            ("Text", certification.corpus_fingerprint),
            ("Prompts and references as token ids", certification.inputs_fingerprint),
            ("Prompt", certification.prompt_hash),
            ("Versions", ", ".join(f"{name} {version}" for name, version in certification.versions.items())),
        ]
        st.markdown("\n".join(f"- {name}: {format_code(value)}" for name, value in lines))
    for note in certification.notes:
        st.caption(escape_markdown(note))
