"""Load parallel text: the pairs that were accepted, and every line that was not."""

from pathlib import Path

from kslottery_core.corpora.formats import find_path, open_text
from kslottery_core.corpora.gathering import Gathering
from kslottery_core.corpora.json_text import ALPACA_PROMPT
from kslottery_core.corpora.pairs import Corpus, compute_fingerprint
from kslottery_core.corpora.spec import CorpusSpec
from kslottery_core.errors import CorpusError

HOPELESS_LINES = 1000  # a file whose first lines are all rejected is not read to its end


def load_corpus(spec: CorpusSpec) -> Corpus:
    """Load any text that `formats.open_text` recognises, with the spec's filters.

    Alpaca's examples become pairs of the instruction (with its input below it) and the output; they bring their own
    template, `Corpus.prompt`. Raises CorpusError when the text cannot be read, has no such column, holds no valid
    pair, or when a larger share of its lines than `spec.max_rejected_share` is rejected.
    """
    opened = open_text(spec)
    gathered = Gathering(spec, opened.format)
    for entry in opened.entries:
        gathered.take(entry)
        if len(gathered.pairs) == spec.limit or (len(gathered.rejected) >= HOPELESS_LINES and gathered.found_nothing):
            break
    path = find_path(spec)
    _check_share(path, spec, gathered)
    return Corpus(
        path.name,
        tuple(gathered.pairs),
        tuple(gathered.rejected),
        compute_fingerprint(gathered.pairs),
        tuple(gathered.lines),
        gathered.counts,
        ALPACA_PROMPT if opened.format == "alpaca" else None,
    )


def _check_share(path: Path, spec: CorpusSpec, gathered: Gathering) -> None:
    counts, rejected = gathered.counts, gathered.rejected
    if not counts.read:
        raise CorpusError(
            f"{path}: expected at least one pair of sentences, found none (no line, or only a header); fill the file."
        )
    first = f"line {rejected[0].line}: {rejected[0].reason}" if rejected else ""
    if not counts.accepted and counts.filtered:
        raise CorpusError(
            f"{path}: expected at least one pair of sentences, found none that passes the filters "
            f"({counts.describe()}); loosen them."
        )
    if not counts.accepted:
        for name in gathered.find_columns(gathered.names):
            if gathered.names and name not in gathered.names:
                found = ", ".join(repr(found) for found in gathered.names)
                raise CorpusError(f"{path}: expected the language or column {name!r}, found {found}; name one of them.")
        raise CorpusError(
            f"{path}: expected at least one pair of sentences, found none in {len(rejected):,} "
            f"line{'s' if len(rejected) > 1 else ''} (the first: {first}); repair the file or choose another."
        )
    if counts.rejected > spec.max_rejected_share * counts.read:
        raise CorpusError(
            f"{path}: expected at most {spec.max_rejected_share:.0%} of the lines to be rejected, found "
            f"{counts.rejected:,} of {counts.read:,} (the first: {first}); repair the file."
        )
