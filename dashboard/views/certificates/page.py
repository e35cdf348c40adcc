"""What is certified: for which predictions the ticket's rows alone are sure to do what all tuned rows do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.controls.pair_header import find_shown_pair, load_shown_comparison, show_pair_line
from dashboard.views.certificates.check import show_certificate_check
from dashboard.views.certificates.control import show_certify_button, watch_works
from dashboard.views.certificates.entries import Entries, show_certificate_entries
from dashboard.views.certificates.findings import choose_kind, show_curve, show_margins, show_meaning, show_numbers
from dashboard.views.certificates.loading import find_kept_path, forget_certificate, load_kept_certificate
from dashboard.views.certificates.sentence_view import show_sentences
from dashboard.views.certificates.violations import show_violations
from dashboard.wording import escape_markdown, format_code, format_moment, format_noun, format_seconds
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from dashboard.loaders import PairChoice
    from kslottery_core.certification import Certification


def render() -> None:
    """Show the entries and the button; with a certificate of these entries kept, all that it says."""
    st.title("What is certified?")
    st.markdown(
        "Keep the tuned rows of the ticket's tokens alone, and all other rows as they were: for which predictions is "
        "this partial model certain to say what the fully embedding-tuned model says? A certificate counts them on a "
        "text, says under which assumption, and holds it against what both models really do."
    )
    choice, entries, path, certification = _show_entries()
    watch_works()
    if certification is not None and path is not None:
        _show_certification(certification, path)
    show_certificate_check(path if certification is not None else None, choice, entries.path)


def _show_entries() -> tuple[PairChoice | None, Entries, Path | None, Certification | None]:
    """The open pair, what was entered, the file that belongs to it, and the certificate in that file, if any."""
    comparison = load_shown_comparison()
    if comparison is None or find_shown_pair(all_weights=True) is None:
        return None, Entries(), None, None
    show_pair_line(comparison)
    with st.container(border=True):
        entries = show_certificate_entries(comparison)
        path, problem = None, None
        if entries.task is not None:
            try:
                path = find_kept_path(entries.task)
            except KSLotteryError as found:
                problem = found
        return comparison.choice, entries, path, _show_certify(entries, path, problem)


def _show_certify(entries: Entries, path: Path | None, problem: KSLotteryError | None) -> Certification | None:
    """The certificate that is kept; without one the button, and what stands in the way of pressing it."""
    try:
        certification = None if path is None else load_kept_certificate(path)
    except KSLotteryError as damage:
        st.error(escape_markdown(str(damage)))
        st.button(
            "Remove this file and certify anew", key="forget_certificate", on_click=forget_certificate, args=(path,)
        )
        return None
    if certification is not None:
        return certification
    if entries.problem is not None:
        (st.info if entries.missing else st.error)(escape_markdown(entries.problem))
    show_certify_button(entries.task, path, problem)
    return None


def _show_certification(certification: Certification, path: Path) -> None:
    st.header("The certificate")
    show_meaning(certification)
    kind = choose_kind()
    show_numbers(certification, kind)
    show_curve(certification, kind)
    st.subheader("Sentence by sentence")
    show_sentences(certification)
    show_margins(certification)
    show_violations(certification)
    _show_file(certification, path)


def _show_file(certification: Certification, path: Path) -> None:
    st.subheader("The certificate as a file")
    st.markdown(
        f"{format_noun(len(certification.sentences), 'sentence')}, {escape_markdown(certification.decoding)}; made in "
        f"{format_seconds(certification.seconds)} on {escape_markdown(certification.device)}, "
        f"{format_moment(path.stat().st_mtime)}. It holds fingerprints of both checkpoints, of text and "
        "prompt, the ticket, levels, assumption, counts and versions."
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
