"""What a study was asked to compare: written once to `study.json`, never changed afterwards."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kslottery_core.corpora import DEFAULT_PROMPT, CorpusSpec, check_prompt
from kslottery_core.errors import StudyError
from kslottery_core.evaluation.generate import EvaluationSettings
from kslottery_core.records import read_record
from kslottery_core.runs import RunSpec
from kslottery_core.tickets import CORRECTIONS, Ticket
from kslottery_core.tuning.dataset import COUNTED
from kslottery_core.tuning.settings import (
    METHODS,
    TRAINED_METHODS,
    LoraSettings,
    PrefixSettings,
    TuningSettings,
    choose_learning_rate,
)

ROW_RULES = ("ks", "frequent", "random", "matched", "prompt", "ticket")
"""`matched` takes other rows that occur about as often; `ticket` is one that was chosen before."""

_RULE_WORDS = {
    "ks": "rows that win the KS test",
    "frequent": "most frequent rows",
    "random": "random rows",
    "matched": "random rows, as frequent",
    "prompt": "rows of the prompt",
    "ticket": "rows of a given ticket",
}
_FIELD_WORDS = {
    "significance_level": "an alpha",
    "top_k": "a number of largest D",
    "count": "a number of rows",
    "ticket": "a ticket",
    "correction": "a correction for many tests",
    "counted": "what is counted",
}
ROW_METHODS = ("ticket", "transfer")
LABEL_LENGTH = 40  # characters: a label is a row of a table and a mark in a picture
NAME_LENGTH = 60
SPEC_VERSION = 1


@dataclass(frozen=True)
class RowRule:
    """How an arm's rows are chosen, anew for every text, seed and number of steps.

    `ks` compares the model with the study's embedding tuning and takes the tokens that win at `significance_level`
    (alpha, with `correction`), or the `top_k` with the largest D. `frequent` and `random` take `count` rows; None means
    as many as the study's first `ks` rule chose there. `matched` imitates the frequencies of `ticket`, or where that is
    None of what the study's first `ks` rule chose. `prompt` takes the tokens of the prompt. `ticket` takes `ticket`.
    `counted` (one of `tuning.COUNTED`) is what `frequent` and `matched` count; a record without it counted the text
    alone.
    """

    rule: str
    significance_level: float | None = None
    correction: str = "none"
    top_k: int | None = None
    count: int | None = None
    ticket: Ticket | None = None
    counted: str = "text"

    def __post_init__(self) -> None:
        if self.rule not in ROW_RULES:
            raise StudyError(f"rows: expected a rule among {', '.join(ROW_RULES)}, found {self.rule!r}.")
        self._refuse_foreign()
        if self.rule == "ks" and (self.significance_level is None) == (self.top_k is None):
            found = "neither" if self.top_k is None else "both"
            raise StudyError(
                f"{self._words}: expected either {_name_field('significance_level')} or {_name_field('top_k')}, found "
                f"{found}; give one of them."
            )
        if self.significance_level is not None and not 0 < self.significance_level < 1:
            raise StudyError(
                f"{self._words}: expected {_name_field('significance_level')} above 0 and below 1, found "
                f"{self.significance_level!r}."
            )
        if self.correction not in CORRECTIONS:
            raise StudyError(
                f"{self._words}: expected {_name_field('correction')} among {', '.join(CORRECTIONS)}, found "
                f"{self.correction!r}."
            )
        if self.correction != "none" and self.significance_level is None:
            raise StudyError(
                f"{self._words}: {_name_field('correction')} changes what wins at an alpha, found "
                f"{self.correction!r} with a number of largest D; leave it out."
            )
        for name, number in (("top_k", self.top_k), ("count", self.count)):
            if number is not None and number < 1:
                raise StudyError(f"{self._words}: expected {_name_field(name)} of at least 1, found {number!r}.")
        if self.counted not in COUNTED:
            raise StudyError(
                f"{self._words}: expected {_name_field('counted')} among {', '.join(COUNTED)}, found {self.counted!r}."
            )
        if self.rule == "ticket" and self.ticket is None:
            raise StudyError(f"{self._words}: expected {_name_field('ticket')}, found none; say which rows.")
        if self.ticket is not None and not self.ticket.size:
            raise StudyError(
                f"{self._words}: expected {_name_field('ticket')} of at least one token, found an empty one."
            )

    @property
    def _words(self) -> str:
        """What messages call the rule: words, and its name in the JSON file."""
        return f"{_RULE_WORDS[self.rule]} (rule {self.rule!r})"

    def _refuse_foreign(self) -> None:
        owners = {
            "significance_level": ("ks",),
            "top_k": ("ks",),
            "count": ("frequent", "random"),
            "ticket": ("ticket", "matched"),
        }
        for name, rules in owners.items():
            if getattr(self, name) is not None and self.rule not in rules:
                owning = " and ".join(f"{_RULE_WORDS[rule]} ({rule!r})" for rule in rules)
                raise StudyError(
                    f"{self._words}: {_name_field(name)} belongs to {owning}; leave it out or change the rule."
                )
        if self.counted != "text" and self.rule not in ("frequent", "matched"):
            raise StudyError(
                f"{self._words}: {_name_field('counted')} belongs to {_RULE_WORDS['frequent']} ('frequent') and "
                f"{_RULE_WORDS['matched']} ('matched'); leave it out or change the rule."
            )
        if self.correction != "none" and self.rule != "ks":
            raise StudyError(
                f"{self._words}: {_name_field('correction')} belongs to {_RULE_WORDS['ks']} ('ks'); leave it out or "
                "change the rule."
            )

    @property
    def copies_ks(self) -> bool:
        """Whether the rule needs to know what the study's first `ks` rule chose."""
        if self.rule in ("frequent", "random"):
            return self.count is None
        return self.rule == "matched" and self.ticket is None


@dataclass(frozen=True)
class StudyArm:
    """One way of tuning: a method, with its rows where it has any, at one or several learning rates.

    Without `learning_rates` the method's own default is taken (`DEFAULT_LEARNING_RATES`). `ticket_rows`, `lora` and
    `prefix` replace the study's settings of that name, so that two arms may differ in them.
    """

    label: str
    method: str
    rows: RowRule | None = None
    learning_rates: tuple[float, ...] = ()
    ticket_rows: str | None = None
    lora: LoraSettings | None = None
    prefix: PrefixSettings | None = None

    def __post_init__(self) -> None:
        if not self.label.strip() or len(self.label) > LABEL_LENGTH or not self.label.isprintable():
            raise StudyError(
                f"label: expected one line of 1 to {LABEL_LENGTH} characters for every arm, found {self.label[:100]!r}."
            )
        where = f"arm {self.label!r}"
        if self.method not in METHODS:
            raise StudyError(f"{where}: expected a method among {', '.join(METHODS)}, found {self.method!r}.")
        if self.method in ROW_METHODS and self.rows is None:
            raise StudyError(f"{where}: {self.method!r} needs rows, found no rule; say how they are chosen.")
        for name, owners in (
            ("rows", ROW_METHODS),
            ("ticket_rows", ("ticket",)),
            ("lora", ("lora",)),
            ("prefix", ("prefix",)),
        ):
            if getattr(self, name) is not None and self.method not in owners:
                raise StudyError(f"{where}: {self.method!r} has no {name}; leave it out or change the method.")
        if self.learning_rates and self.method not in TRAINED_METHODS:
            raise StudyError(f"{where}: {self.method!r} trains nothing, so it has no learning rate; leave it out.")
        for rate in self.learning_rates:
            if not 0 < rate < float("inf"):
                raise StudyError(f"{where}: expected learning rates above 0, found {rate!r}.")
        refuse_repeated(f"{where}: learning rates", self.learning_rates)

    @property
    def rates(self) -> tuple[float | None, ...]:
        """The learning rates it runs at; one None for a method that trains nothing."""
        if self.method not in TRAINED_METHODS:
            return (None,)
        return self.learning_rates or (choose_learning_rate(self.method),)


@dataclass(frozen=True)
class StudyText:
    """What is learned from and what is scored, of one language pair."""

    train: CorpusSpec
    test: CorpusSpec

    def __post_init__(self) -> None:
        one, other = (self.train.source, self.train.target), (self.test.source, self.test.target)
        if one != other:
            raise StudyError(
                f"texts: expected one language pair for training and test, found {'-'.join(one)} and {'-'.join(other)}."
            )

    @property
    def language(self) -> str:
        """The pair as `en-ca`."""
        return f"{self.train.source}-{self.train.target}"


@dataclass(frozen=True)
class StudySpec:
    """A grid: every arm on every text, with every seed, number of optimizer steps and learning rate of the arm.

    One `prompt`, one decoding and test set (`evaluation`), one training budget (`tuning`: of it the learning rate, the
    seed and the number of steps are the grid's) for all. Construction checks what needs no disk, so that the record of
    an old study stays readable; `check_study` checks the rest. Raises `KSLotteryError`, mostly `StudyError`.
    """

    name: str
    model: str
    arms: tuple[StudyArm, ...]
    texts: tuple[StudyText, ...]
    revision: str | None = None
    seeds: tuple[int, ...] = (42,)
    steps: tuple[int, ...] = (300,)
    prompt: str = DEFAULT_PROMPT
    tuning: TuningSettings = field(default_factory=TuningSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    device: str = "auto"

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > NAME_LENGTH or not self.name.isprintable():
            raise StudyError(f"name: expected one line of 1 to {NAME_LENGTH} characters, found {self.name[:100]!r}.")
        for name, items in (("arms", self.arms), ("texts", self.texts), ("seeds", self.seeds), ("steps", self.steps)):
            if not items:
                raise StudyError(f"{name}: expected at least one, found none; a study needs something to run.")
        refuse_repeated("labels of the arms", [arm.label for arm in self.arms])
        refuse_repeated("language pairs of the texts", [text.language for text in self.texts])
        refuse_repeated("seeds", self.seeds)
        refuse_repeated("steps", self.steps)
        for seed in self.seeds:
            if not 0 <= seed < 2**32:
                raise StudyError(f"seeds: expected whole numbers from 0 to {2**32 - 1}, found {seed!r}.")
        for steps in self.steps:
            if steps < 1:
                raise StudyError(f"steps: expected whole numbers of at least 1, found {steps!r}.")
        check_prompt(self.prompt)
        for arm in self.arms:
            self._check_needs(arm)
        RunSpec(self.name, "base", self.model, revision=self.revision, device=self.device)  # which judges the others

    def _check_needs(self, arm: StudyArm) -> None:
        if arm.rows is not None and arm.rows.copies_ks and self.first_ks_rule is None:
            matches = arm.rows.rule == "matched"
            copied = "as frequent as those" if matches else "as many as those"
            wanted = "a ticket to match (ticket)" if matches else _name_field("count")
            raise StudyError(
                f"arm {arm.label!r}: its rows are {copied} that win the KS test in this study, found no way of tuning "
                f"that takes such rows; add one (rule 'ks') or give {wanted}."
            )
        if self.needs_embedding(arm) and self.embedding_arm is None:
            reason = "copies rows from" if arm.method == "transfer" else "chooses rows by"
            raise StudyError(
                f"arm {arm.label!r}: it {reason} the study's own embedding tuning, found none in the study; add it "
                "(method 'embedding')."
            )

    @property
    def embedding_arm(self) -> int | None:
        """The position of the arm that the others take their rows from: the first embedding tuning; None without."""
        return next((position for position, arm in enumerate(self.arms) if arm.method == "embedding"), None)

    @property
    def first_ks_rule(self) -> RowRule | None:
        """The rule that others copy the number or the frequencies of."""
        return next((arm.rows for arm in self.arms if arm.rows is not None and arm.rows.rule == "ks"), None)

    def needs_embedding(self, arm: StudyArm) -> bool:
        """Whether the arm's cells can only run after those of the embedding tuning."""
        return arm.method == "transfer" or (arm.rows is not None and (arm.rows.rule == "ks" or arm.rows.copies_ks))

    def to_json(self) -> dict[str, Any]:
        """The JSON object of `study.json`, with whole tickets inside."""
        return {"version": SPEC_VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, mapping: Any, where: str) -> "StudySpec":
        """Read `study.json`; `where` names the file in messages. Raises `KSLotteryError`."""
        if not isinstance(mapping, dict):
            return read_record(cls, mapping, where, StudyError)  # which says what was expected
        version = mapping.get("version", SPEC_VERSION)
        if type(version) is not int or version > SPEC_VERSION:
            raise StudyError(
                f"{where}: expected a study of version {SPEC_VERSION} or older, found version {version!r}; it was "
                "written by a newer program, so update this one."
            )
        fields = {name: value for name, value in mapping.items() if name != "version"}
        return read_record(cls, fields, where, StudyError)


def _name_field(name: str) -> str:
    """A field of a rule in words, with its name in the JSON file."""
    return f"{_FIELD_WORDS[name]} ({name})"


def refuse_repeated(what: str, items: Sequence[Any]) -> None:
    """Raise StudyError when something stands in a list of the grid more than once."""
    repeated = [item for item, times in Counter(items).items() if times > 1]
    if repeated:
        raise StudyError(f"{what}: expected each of them once, found {repeated[0]!r} repeated; take one out.")
