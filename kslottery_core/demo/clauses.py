"""What a phrase says, before any language says it: the grammars turn these records into words."""

from dataclasses import dataclass

from kslottery_core.demo.lexicon import Adjective, Noun
from kslottery_core.demo.verbs import Adverbial, Verb

DETERMINERS = ("the", "a", "this", "my", "our", "bare", "number")


@dataclass(frozen=True)
class NounPhrase:
    """A noun with its determiner ("number" counts 2 to 9 things; "bare" has none) and perhaps one adjective."""

    noun: Noun
    determiner: str
    plural: bool = False
    count: int = 0
    adjective: Adjective | None = None

    @property
    def definite(self) -> bool:
        return self.determiner in {"the", "this", "my", "our"}

    @property
    def person(self) -> bool:
        return "person" in self.noun.tags

    @property
    def animal(self) -> bool:
        return "animal" in self.noun.tags


@dataclass(frozen=True)
class Clause:
    """Who does what, where and when, in the third person.

    Without a `verb` the clause says what the subject is: `state` (an adjective), or where it is: `place`.
    `pronoun` puts a pronoun for the subject, which another clause has already named; `existence` is "there is".
    """

    subject: NounPhrase
    verb: Verb | None = None
    object: NounPhrase | None = None
    state: Adjective | None = None
    place: Adverbial | None = None
    time: Adverbial | None = None
    time_first: bool = False
    past: bool = False
    negated: bool = False
    pronoun: bool = False
    existence: bool = False


@dataclass(frozen=True)
class Sentence:
    """One clause, perhaps a question, or two clauses joined by "and", "but", "because" or "when"."""

    first: Clause
    link: str | None = None
    second: Clause | None = None
    question: bool = False


def join_words(*words: str) -> str:
    """Join the words that are there with single spaces."""
    return " ".join(word for word in words if word)


def capitalize(text: str) -> str:
    """Raise the first letter and leave the rest as it is."""
    return text[0].upper() + text[1:]
