"""The record of one certification and its JSON file: what was asked, what was found, and what it rests on."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kslottery_core.certification.levels import Level
from kslottery_core.certification.task import CertificationTask
from kslottery_core.corpora import DEFAULT_PROMPT, load_corpus
from kslottery_core.errors import CertificationError, CheckpointError
from kslottery_core.records import load_json, make_scratch_path, read_record
from kslottery_core.tickets import Ticket

CERTIFICATE_VERSION = 1

REFERENCE, OUTPUT = "reference", "output"
"""The two texts after a prompt: the reference translation, and the greedy output of the embedding-tuned model."""

TICKET, LEFT_BEHIND, UNCHANGED = "ticket", "left_behind", "unchanged"
ROLES = (TICKET, LEFT_BEHIND, UNCHANGED)


@dataclass(frozen=True)
class TokenProbability:
    """A token and the probability that a model gives it; None where that is not a number."""

    token_id: int
    label: str
    probability: float | None


@dataclass(frozen=True)
class LeftBehindToken:
    """A token of the input whose changed row is not in the ticket; `count` is k = d * D."""

    token_id: int
    label: str
    count: int


@dataclass(frozen=True)
class Violation:
    """A prediction that a level certifies although the partial model differs.

    `sentence` and `position` count from 0; `position` is that of the predicted token in the sequence's tokens.
    `text` says which sequence: "reference" or "output". `levels` are those that certified it.
    """

    text: str
    sentence: int
    position: int
    levels: tuple[str, ...]
    reference_top: tuple[TokenProbability, ...]
    partial_top: tuple[TokenProbability, ...]
    first_probability: float
    second_probability: float
    counts: int
    left_behind: tuple[LeftBehindToken, ...]


@dataclass(frozen=True)
class LostPrediction:
    """A prediction whose larger tickets were all run and that at least one of them changes.

    `text`, `sentence` and `position` are those of a `Violation`. `predicted` is the embedding-tuned model's token.
    `margin` is its logit minus the largest other logit, `least_margin` the smallest value of that over all these
    models; None where it is not a number. `kept_before` are the tokens whose rows stay as they were in the model with
    the least margin. A least margin just above 0 counts as lost because of the allowance for rounding.
    """

    text: str
    sentence: int
    position: int
    token_id: int
    label: str
    margin: float | None
    least_margin: float | None
    kept_before: tuple[LeftBehindToken, ...]


@dataclass(frozen=True)
class LargerTickets:
    """How many predictions of reference translations, and steps of outputs, every larger ticket of one ticket was tried
    on.

    `not_tried`: more tokens are left behind than the limit. `lost`: all larger tickets were run, and at least
    one changes the prediction. Every defined prediction is certified, lost or not tried. `listed` are lost ones of both
    texts, up to a fixed number; the counts are complete.
    """

    not_tried: int
    lost: int
    output_steps_not_tried: int
    output_steps_lost: int
    listed: tuple[LostPrediction, ...] = ()


@dataclass(frozen=True)
class LevelCounts:
    """For one level: how many are certified, how many of these equal the reference text (`correct`), and for how many
    the partial model differs nevertheless (`violations`)."""

    level: str
    certified: int
    correct: int
    violations: int


@dataclass(frozen=True)
class Tally:
    """Counts of predictions, or of whole outputs; every share is a count divided by `total`.

    `agreed`: both models predict the same. `reference_correct`, `partial_correct`: the embedding-tuned model, or the
    partial one, predicts the reference translation, token for token and with its end. `undefined`: the embedding-tuned
    model's logits are not numbers; these are certified at no level and never agree.
    """

    total: int
    agreed: int
    reference_correct: int
    partial_correct: int
    undefined: int
    levels: tuple[LevelCounts, ...]

    def get_level(self, name: str) -> LevelCounts:
        """The counts of one level. Raises CertificationError for a level that the certificate does not have."""
        found = [counts for counts in self.levels if counts.level == name]
        if not found:
            raise CertificationError(
                f"level: expected one of {', '.join(counts.level for counts in self.levels)}, found {name!r}."
            )
        return found[0]


@dataclass(frozen=True)
class TicketPoint:
    """What one ticket certifies. `significance_level` is None for a ticket that was not chosen by an alpha.

    `left_behind` counts the distinct tokens of all inputs that are outside it and changed. `predictions` are those at
    every position of the reference translations (its end included), `outputs` whole greedy outputs.
    `largest_exact_difference` is the largest absolute difference of a logit at a prediction certified as exact, None
    where there is none. `output_step_violations` counts, for each level, certified steps of outputs at which the
    partial model differs, in outputs that are certified as a whole and in others. `violations` lists single
    predictions, of reference translations and of outputs, up to a fixed number. `larger_tickets` is None where that
    level was not requested.
    """

    significance_level: float | None
    ticket_size: int
    left_behind: int
    predictions: Tally
    outputs: Tally
    largest_exact_difference: float | None
    output_step_violations: dict[str, int]
    violations: tuple[Violation, ...] = ()
    larger_tickets: LargerTickets | None = None


@dataclass(frozen=True)
class TokenRecord:
    """A token that occurs in a sequence or is predicted: its role with the chosen ticket, and k = d * D of its row."""

    token_id: int
    label: str
    role: str
    count: int


@dataclass(frozen=True)
class PredictedSequence:
    """A prompt and what follows it, with what both models predict at each position from `start` on (P of them).

    token_ids             (T,) of the prompt and the text; P = T - start
    predicted             (P,) the embedding-tuned model's top token at each of them
    partial_predicted     (P,) the partial model's
    first_probabilities   (P,) p_A, None where the logits are not numbers
    second_probabilities  (P,) p_B
    left_behind           (P,) how many tokens N(x) holds there
    counts                (P,) sum of k = d * D over N(x)
    levels                for each level the positions (as in `token_ids`) that it certifies
    """

    token_ids: tuple[int, ...]
    start: int
    predicted: tuple[int, ...]
    partial_predicted: tuple[int, ...]
    first_probabilities: tuple[float | None, ...]
    second_probabilities: tuple[float | None, ...]
    left_behind: tuple[int, ...]
    counts: tuple[int, ...]
    levels: dict[str, tuple[int, ...]]

    @property
    def margins(self) -> np.ndarray:
        """p_A - p_B, float64 (P,); NaN where the logits are not numbers."""
        first, second = (np.array(p, dtype=float) for p in (self.first_probabilities, self.second_probabilities))
        return first - second


@dataclass(frozen=True)
class SentenceRecord:
    """One sentence with the chosen ticket. `output` is the embedding-tuned model's; `ended`: it has an end token."""

    source: str
    reference: str
    output: str
    ended: bool
    reference_sequence: PredictedSequence
    output_sequence: PredictedSequence

    def get_sequence(self, text: str) -> PredictedSequence:
        """The sequence of the "reference" or the "output"."""
        return self.reference_sequence if text == REFERENCE else self.output_sequence


@dataclass(frozen=True)
class SideFingerprints:
    """Content digests (SHA-256) of one checkpoint: its input embedding as a ticket has it, and every other parameter
    as it is loaded in float32."""

    embedding: str
    parameters: str


@dataclass(frozen=True)
class Certification:
    """What was certified: the task, digests of all that decides it, counts, and one record per sentence.

    `prompt` is the template that was filled in; `inputs_fingerprint` digests the token ids of prompts and references.
    `chosen` belongs to the task's ticket, `grid` to its alphas; in both, the levels are those of `levels`. `width` is
    d, so that D = count / width. `sentences` and `tokens` show the chosen ticket.
    """

    task: CertificationTask
    before: SideFingerprints
    after: SideFingerprints
    corpus_fingerprint: str
    inputs_fingerprint: str
    prompt: str
    prompt_hash: str
    decoding: str
    width: int
    vocabulary_size: int
    changed_rows: int
    levels: tuple[Level, ...]
    statement: str
    chosen: TicketPoint
    grid: tuple[TicketPoint, ...]
    tokens: tuple[TokenRecord, ...]
    sentences: tuple[SentenceRecord, ...]
    device: str
    versions: dict[str, str]
    seconds: float
    distinct_tickets: int
    notes: tuple[str, ...] = ()
    version: int = CERTIFICATE_VERSION

    def to_json(self) -> dict[str, Any]:
        """A JSON object with every field; those of larger tickets only where that level was requested."""
        content = asdict(self)
        if not self.task.larger_ticket_limit:
            # Files stay as they were before there was this level, for older versions, which refuse unknown fields.
            del content["task"]["larger_ticket_limit"]
            for point in (content["chosen"], *content["grid"]):
                del point["larger_tickets"]
        return content

    @classmethod
    def from_json(cls, mapping: Any, where: str = "certificate") -> "Certification":
        """Read a JSON object. Raises CertificationError naming `where` and the field that is wrong."""
        version = mapping.get("version") if isinstance(mapping, dict) else None
        if version != CERTIFICATE_VERSION:
            raise CertificationError(
                f"{where}: expected a certificate of version {CERTIFICATE_VERSION}, found "
                f"{'none' if version is None else f'version {version!r}'}; certify again."
            )
        return read_record(cls, mapping, where, CertificationError)

    def choose_ticket(self, ticket: Ticket) -> "Certification | None":
        """This certificate with another ticket as the chosen one, where it counted that too; otherwise None.

        Sentences and tokens are recorded for one set of token ids alone: with others, both are empty. A ticket of the
        grid is known by its size, because of the tickets that alphas choose from one pair each contains the smaller.
        """
        own, fingerprints = self.task.ticket, (self.before.embedding, self.after.embedding)
        if (ticket.token_ids, ticket.vocabulary_size) == (own.token_ids, own.vocabulary_size):
            changes: dict[str, Any] = {}
            point = self.chosen
        else:
            of_alpha = ticket.rule == "alpha" and (ticket.fingerprint_before, ticket.fingerprint_after) == fingerprints
            same = [counted for counted in self.grid if of_alpha and counted.ticket_size == ticket.size]
            if not same:
                return None
            changes, point = {"sentences": (), "tokens": ()}, same[0]
        return replace(
            self,
            task=replace(self.task, ticket=ticket),
            chosen=replace(point, significance_level=ticket.significance_level),
            **changes,
        )

    def collect_margins(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """(p_A - p_B, 2 * sum of D) of every prediction in "reference" or "output" sequences, each float64 (P,)."""
        sequences = [sentence.get_sequence(text) for sentence in self.sentences]
        margins = np.concatenate([sequence.margins for sequence in sequences])
        counts = np.concatenate([np.array(sequence.counts, dtype=np.int64) for sequence in sequences])
        return margins, 2 * counts / self.width


def save_certification(certification: Certification, path: str | Path) -> None:
    """Write the certificate file, one field per line. Raises CertificationError when it cannot be written."""
    path = Path(path)
    content = certification.to_json()
    # With indentation throughout, each number of every sentence would take a line of its own.
    lines = (f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in content.items())
    scratch = make_scratch_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        scratch.replace(path)
    except OSError as problem:
        with contextlib.suppress(OSError):  # what should be a folder may be a file
            scratch.unlink(missing_ok=True)
        raise CertificationError(
            f"{path}: the certificate cannot be written there ({problem}); choose another path."
        ) from None


def load_certification(path: str | Path) -> Certification:
    """Read a certificate file. Raises CertificationError for one that is missing, damaged or of another version."""
    return Certification.from_json(load_json(Path(path), CertificationError), str(path))


def find_certificate_path(task: CertificationTask, folder: str | Path) -> Path:
    """The file in `folder` for exactly this task; it is there only if somebody has saved one.

    Call it before certifying: files may be rewritten meanwhile. Reads headers and the text, no weights. Raises
    CheckpointError or CorpusError.
    """
    return Path(folder) / name_certificates(task, [task.ticket])[0]


def name_certificates(task: CertificationTask, tickets: Sequence[Ticket]) -> tuple[str, ...]:
    """The file names of certificates that differ from `task` in the ticket alone, one for each of `tickets`.

    A name digests the state of both checkpoints' files, AFTER's generation settings, whose end tokens decide its
    outputs, the ticket's ids, the text's content, the filled settings and the version of certificates; not the spelling
    of paths, nor the device. Raises CheckpointError or CorpusError.
    """
    from kslottery_core.checkpoints import find_generation_config, open_pair, open_parameters

    corpus = load_corpus(task.corpus)
    pair = open_pair(task.before, task.after, before_revision=task.before_revision, after_revision=task.after_revision)
    sides = [
        (pair.before.file_signature, open_parameters(task.before, revision=task.before_revision).file_signature),
        (pair.after.file_signature, open_parameters(task.after, revision=task.after_revision).file_signature),
    ]
    settings: dict[str, Any] = {
        "prompt": task.prompt or corpus.prompt or DEFAULT_PROMPT,
        "significance_levels": task.significance_levels,
        "max_new_tokens": task.max_new_tokens,
        "batch_size": task.batch_size,
    }
    if task.larger_ticket_limit:  # off, it is no part of the name, which older files have without it
        settings["larger_ticket_limit"] = task.larger_ticket_limit
    generation = find_generation_config(task.after, task.after_revision)
    if generation is not None:  # without any, the name is as in older versions
        settings["generation"] = hashlib.sha256(_read(generation)).hexdigest()
    names = []
    for ticket in tickets:
        decisive = {
            "version": CERTIFICATE_VERSION,
            "sides": sides,
            "ticket": [
                ticket.token_ids,
                ticket.significance_level,
                ticket.fingerprint_before,
                ticket.fingerprint_after,
            ],
            "corpus": [corpus.fingerprint, task.corpus.source, task.corpus.target],
            **settings,
        }
        names.append(f"{hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:32]}.json")
    return tuple(names)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise CheckpointError(f"{path}: this file cannot be read ({problem}); check its permissions.") from None
