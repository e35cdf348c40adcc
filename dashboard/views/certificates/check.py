"""Does a certificate still hold? It is chosen or uploaded, and computed again in the background."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard.loaders import PairChoice, list_downloads
from dashboard.loaders.texts import is_on_hub
from dashboard.views.certificates.loading import (
    find_work,
    list_kept_certificates,
    load_kept_certificate,
    name_check,
    read_certificate,
    start_checking,
)
from dashboard.wording import escape_markdown, format_code, format_moment, format_noun, format_seconds, name_source
from kslottery_core.errors import KSLotteryError

if TYPE_CHECKING:
    from kslottery_core.certification import Certification

_UPLOADED = "Upload a file"
_NAMED, _OPEN = "What the certificate names", "The open pair and the text above"


def show_certificate_check(present: Path | None, choice: PairChoice | None, text: str) -> None:
    """The choice of a certificate, what it is compared with, and the outcome. `present` is the one on the page."""
    box = st.expander(
        "Check a certificate: does it still hold?",
        icon=":material/fact_check:",
        key="certificate_check",
        on_change="rerun",
    )
    if not box.open:  # certificates may be large: none is read before somebody asks
        return
    with box:
        certification = _choose_certificate(present)
        if certification is None:
            return
        replaced = _choose_inputs(certification, choice, text)
        work = find_work(name_check(certification, **replaced))
        is_live = work is not None and work.live
        st.button(
            "Checking…" if is_live else "Check it",
            icon=":material/fact_check:",
            key="check_certificate",
            disabled=is_live,
            on_click=start_checking,
            args=(certification,),
            kwargs=replaced,
        )
        if is_live:
            st.caption("Its progress, and a way to stop it, are shown further up, below the entries.")
        elif work is None:
            st.caption(
                "Both checkpoints, the text and every count are compared with what the certificate says; this takes as "
                f"long as certifying did ({format_seconds(certification.seconds)} then)."
            )
        elif work.problem is not None:
            st.error(escape_markdown(work.problem))
        elif work.verification is None:
            st.info("The check was stopped early; it says nothing about the certificate.")
        elif work.verification.holds:
            st.success(
                "**The certificate holds.** Both checkpoints, the text and every count are what it says.",
                icon=":material/verified:",
            )
            if work.verification.rounding is not None:
                st.caption(escape_markdown(work.verification.rounding))
        else:
            difference = escape_markdown(work.verification.difference or "")
            st.error(f"**The certificate does not hold.** First difference: {difference}", icon=":material/error:")
        if work is not None and work.verification is not None:
            st.caption(f"Checked {format_moment(work.ended)}, with the files as they were then.")


def _choose_certificate(present: Path | None) -> Certification | None:
    kept = {certificate.path: certificate for certificate in list_kept_certificates()}
    options = [*sorted(kept, key=lambda path: path != present), _UPLOADED]
    chosen = st.selectbox(
        "Certificate",
        options,
        format_func=lambda option: (
            option
            if isinstance(option, str)
            else f"{kept[option].title}, {format_moment(kept[option].changed)}"
            + (" (the one shown)" if option == present else "")
        ),
        # Another one on the page is another choice: otherwise the one chosen before it was made would stay.
        key=f"certificate_to_check_{'' if present is None else present.stem}",
    )
    try:
        if isinstance(chosen, Path):
            return load_kept_certificate(chosen)
        upload = st.file_uploader("Certificate file (JSON)", type=["json"], key="certificate_upload")
        return None if upload is None else read_certificate(upload.getvalue(), upload.name)
    except KSLotteryError as problem:
        st.error(escape_markdown(str(problem)))
        return None


def _choose_inputs(certification: Certification, choice: PairChoice | None, text: str) -> dict[str, Any]:
    """What the certificate is compared with: arguments of `verify_certification`; none for what it names itself."""
    task = certification.task
    ticket = format_noun(task.ticket.size, "token")
    st.markdown(
        f"It certifies a ticket of {ticket} on {format_noun(len(certification.sentences), 'sentence')}.  \n"
        f"Before {format_code(task.before)}  \nAfter {format_code(task.after)}  \nText {format_code(task.corpus.path)}"
    )
    if choice is None:
        _warn_of_downloads(task.before, task.after, task.corpus.path)
        return {}
    against = st.segmented_control(
        "Compare with",
        [_NAMED, _OPEN],
        default=_NAMED,
        key="certificate_against",
        required=True,
        help="A file from another computer may name paths that do not exist here; then compare it with the open pair. "
        "Its ticket, languages and limits stay as they are.",
    )
    if against == _NAMED:
        _warn_of_downloads(task.before, task.after, task.corpus.path)
        return {}
    replaced: dict[str, Any] = {
        "before": choice.before,
        "after": choice.after,
        "before_revision": choice.before_revision,
        "after_revision": choice.after_revision,
    }
    if text:
        replaced["corpus"] = replace(task.corpus, path=text)
    st.caption(
        f"Compared with {escape_markdown(name_source(choice.before or ''))} and "
        f"{escape_markdown(name_source(choice.after or ''))}"
        + (f", {escape_markdown(name_source(text))}." if text else ".")
    )
    return replaced


def _warn_of_downloads(before: str, after: str, text: str) -> None:
    fetched = [*list_downloads(PairChoice(before, after)), *([text] if is_on_hub(text) else [])]
    if fetched:
        names = " and ".join(format_code(name) for name in fetched)
        st.warning(f"Checking downloads {names} from the Hugging Face hub, unless it is on this computer already.")
