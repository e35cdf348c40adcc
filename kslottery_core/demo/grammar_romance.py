"""Catalan, Spanish and Romanian sentences of the demo text.

The three share the order of words: time, subject, negation, verb, object, place, time. What differs (articles, the
past, the marking of a person as object) has one function a language.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kslottery_core.demo.clauses import Clause, NounPhrase, Sentence, capitalize, join_words
from kslottery_core.demo.lexicon import FEMININE_WITHOUT_ELISION, Adjective, Noun

VOWELS = "aeiouàèéíòóú"


def _agree(forms: tuple[str, ...], gender: str, plural: bool) -> str:
    """Choose among the four forms (m.sg, f.sg, m.pl, f.pl); a neuter is masculine in the singular only."""
    feminine = gender == "f" or (gender == "n" and plural)
    return forms[2 * plural + feminine]


def _adjective(language: str, adjective: Adjective | None, phrase: NounPhrase) -> str:
    if adjective is None:
        return ""
    return _agree(getattr(adjective, language), getattr(phrase.noun, language)[0], phrase.plural)


# Catalan ---------------------------------------------------------------------------------------------------------

CATALAN_DETERMINERS = {
    "the": ("el", "la", "els", "les"),
    "a": ("un", "una", "", ""),
    "this": ("aquest", "aquesta", "aquests", "aquestes"),
    "my": ("el meu", "la meva", "els meus", "les meves"),
    "our": ("el nostre", "la nostra", "els nostres", "les nostres"),
    "bare": ("", "", "", ""),
}
CATALAN_NUMBERS = ("dos", "tres", "quatre", "cinc", "sis", "set", "vuit", "nou")


def elides(noun: Noun) -> bool:
    """Whether the Catalan singular article before this noun is l'."""
    gender, singular = noun.ca[:2]
    sound = singular.removeprefix("h")
    return sound[0] in VOWELS and not (gender == "f" and singular in FEMININE_WITHOUT_ELISION)


def build_catalan_noun_phrase(phrase: NounPhrase) -> str:
    noun = phrase.noun
    words = join_words(noun.ca[2 if phrase.plural else 1], _adjective("ca", phrase.adjective, phrase))
    if phrase.determiner == "number":
        two = "dues" if noun.ca[0] == "f" else "dos"
        return join_words(two if phrase.count == 2 else CATALAN_NUMBERS[phrase.count - 2], words)
    if phrase.determiner == "the" and not phrase.plural and elides(noun):
        return "l'" + words
    return join_words(_agree(CATALAN_DETERMINERS[phrase.determiner], noun.ca[0], phrase.plural), words)


def _catalan_verb(clause: Clause) -> str:
    plural = clause.subject.plural
    if clause.verb:
        past = join_words("van" if plural else "va", clause.verb.ca[2])
        verb = past if clause.past else clause.verb.ca[plural]
    elif clause.existence:
        verb = "hi ha"
    elif clause.state and clause.state.copula == "estar":
        verb = ("està", "estan", "estava", "estaven")[2 * clause.past + plural]
    else:
        verb = ("és", "són", "era", "eren")[2 * clause.past + plural]
    return join_words("no" if clause.negated else "", verb)


def _catalan_object(clause: Clause, phrase: NounPhrase) -> str:
    return build_catalan_noun_phrase(phrase)


# Spanish ---------------------------------------------------------------------------------------------------------

SPANISH_DETERMINERS = {
    "the": ("el", "la", "los", "las"),
    "a": ("un", "una", "", ""),
    "this": ("este", "esta", "estos", "estas"),
    "my": ("mi", "mi", "mis", "mis"),
    "our": ("nuestro", "nuestra", "nuestros", "nuestras"),
    "bare": ("", "", "", ""),
}
SPANISH_NUMBERS = ("dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve")


def build_spanish_noun_phrase(phrase: NounPhrase) -> str:
    noun = phrase.noun
    words = join_words(noun.es[2 if phrase.plural else 1], _adjective("es", phrase.adjective, phrase))
    if phrase.determiner == "number":
        return join_words(SPANISH_NUMBERS[phrase.count - 2], words)
    return join_words(_agree(SPANISH_DETERMINERS[phrase.determiner], noun.es[0], phrase.plural), words)


def _spanish_verb(clause: Clause) -> str:
    plural = clause.subject.plural
    if clause.verb:
        verb = clause.verb.es[2 * clause.past + plural]
    elif clause.existence:
        verb = "hay"
    elif clause.place or (clause.state and clause.state.copula == "estar"):
        verb = ("está", "están", "estaba", "estaban")[2 * clause.past + plural]
    else:
        verb = ("es", "son", "era", "eran")[2 * clause.past + plural]
    return join_words("no" if clause.negated else "", verb)


def _spanish_object(clause: Clause, phrase: NounPhrase) -> str:
    """The object; a person, or an animal that is known, is marked with "a", and "a el" becomes "al"."""
    words = build_spanish_noun_phrase(phrase)
    direct = clause.verb is not None and clause.verb.link == "direct" and clause.verb.personal
    if direct and (phrase.person or (phrase.animal and phrase.definite)):
        return "al" + words.removeprefix("el") if words.startswith("el ") else "a " + words
    return words


# Romanian --------------------------------------------------------------------------------------------------------

ROMANIAN_BEFORE = {"a": ("un", "o", "", ""), "this": ("acest", "această", "acești", "aceste")}
ROMANIAN_AFTER = {"my": ("meu", "mea", "mei", "mele"), "our": ("nostru", "noastră", "noștri", "noastre")}
ROMANIAN_NUMBERS = ("doi", "trei", "patru", "cinci", "șase", "șapte", "opt", "nouă")
CLITICS = ("îl", "o", "îi", "le")
PAST_CLITICS = ("l-", "", "i-", "le-")


def build_romanian_noun_phrase(phrase: NounPhrase, without_article: bool = False) -> str:
    """The phrase; the definite article is a form of the noun, which most prepositions take away when it is alone."""
    noun, gender, plural = phrase.noun, phrase.noun.ro[0], phrase.plural
    adjective = _adjective("ro", phrase.adjective, phrase)
    definite = phrase.determiner in {"the", "my", "our"} and not without_article
    form = noun.ro[1 + 2 * plural + definite]
    if phrase.determiner == "number":
        two = "doi" if gender == "m" else "două"
        before = two if phrase.count == 2 else ROMANIAN_NUMBERS[phrase.count - 2]
    else:
        before = _agree(ROMANIAN_BEFORE.get(phrase.determiner, ("", "", "", "")), gender, plural)
    after = _agree(ROMANIAN_AFTER.get(phrase.determiner, ("", "", "", "")), gender, plural)
    return join_words(before, form, after, adjective)


def _takes_clitic(clause: Clause) -> bool:
    """A definite person as direct object is announced by a pronoun and marked with "pe"."""
    phrase = clause.object
    direct = clause.verb is not None and clause.verb.link == "direct"
    return direct and phrase is not None and phrase.person and phrase.definite


def _romanian_verb(clause: Clause) -> str:
    plural = clause.subject.plural
    negation = "nu" if clause.negated else ""
    if clause.verb is None:
        return join_words(negation, ("este", "sunt", "era", "erau")[2 * clause.past + plural])
    present, participle = clause.verb.ro[plural], clause.verb.ro[2]
    clitic = clause.object if _takes_clitic(clause) else None
    if not clause.past:
        pronoun = _agree(CLITICS, clitic.noun.ro[0], clitic.plural) if clitic else ""
        return join_words(negation, pronoun, present)
    auxiliary = "au" if plural else "a"
    if present.startswith("se "):
        return join_words(negation, "s-" + auxiliary, participle)
    if clitic is None:
        return join_words(negation, auxiliary, participle)
    pronoun = _agree(PAST_CLITICS, clitic.noun.ro[0], clitic.plural)
    if not pronoun:  # the feminine singular pronoun follows the participle
        return join_words(negation, auxiliary, participle + "-o")
    return join_words(negation, pronoun + auxiliary, participle)


def _romanian_object(clause: Clause, phrase: NounPhrase) -> str:
    if not _takes_clitic(clause):
        return build_romanian_noun_phrase(phrase)
    alone = phrase.determiner == "the" and phrase.adjective is None
    return "pe " + build_romanian_noun_phrase(phrase, without_article=alone)


# The order that they share ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RomanceGrammar:
    """What one language puts into the shared order."""

    language: str
    company: str
    links: dict[str, str]
    build_noun_phrase: Callable[[NounPhrase], str]
    build_verb: Callable[[Clause], str]
    build_object: Callable[[Clause, NounPhrase], str]
    question_start: str = ""
    place_before_existence: bool = False

    def build_clause(self, clause: Clause) -> str:
        """The words of one clause, without capital and full stop."""
        subject = "" if clause.pronoun else self.build_noun_phrase(clause.subject)
        verb = self.build_verb(clause)
        place = getattr(clause.place, self.language) if clause.place else ""
        if clause.existence:
            parts = (place, verb, subject) if self.place_before_existence else (verb, subject, place)
            return join_words(*parts)
        complement = _adjective(self.language, clause.state, clause.subject)
        if clause.object and clause.verb:
            company = self.company if clause.verb.link == "with" else ""
            complement = join_words(company, self.build_object(clause, clause.object))
        time = getattr(clause.time, self.language) if clause.time else ""
        before, after = (time, "") if clause.time_first else ("", time)
        return join_words(before, subject, verb, complement, place, after)

    def build_sentence(self, sentence: Sentence) -> str:
        """The whole sentence; a question keeps the order of a statement."""
        text = self.build_clause(sentence.first)
        if sentence.question:
            return self.question_start + capitalize(text) + "?"
        if sentence.link and sentence.second:
            text = f"{text}{self.links[sentence.link]} {self.build_clause(sentence.second)}"
        return capitalize(text) + "."


CATALAN = RomanceGrammar(
    "ca",
    "amb",
    {"and": " i", "but": ", però", "because": " perquè", "when": " quan"},
    build_catalan_noun_phrase,
    _catalan_verb,
    _catalan_object,
)
SPANISH = RomanceGrammar(
    "es",
    "con",
    {"and": " y", "but": ", pero", "because": " porque", "when": " cuando"},
    build_spanish_noun_phrase,
    _spanish_verb,
    _spanish_object,
    question_start="¿",
)
ROMANIAN = RomanceGrammar(
    "ro",
    "cu",
    {"and": " și", "but": ", dar", "because": " pentru că", "when": " când"},
    build_romanian_noun_phrase,
    _romanian_verb,
    _romanian_object,
    place_before_existence=True,
)
