"""German sentences of the demo text: three genders, three cases, verb second, verb last in subordinate clauses."""

from kslottery_core.demo.clauses import Clause, NounPhrase, Sentence, capitalize, join_words
from kslottery_core.demo.lexicon import Noun

NUMBERS = ("zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")
LINKS = {"and": " und", "but": ", aber", "because": ", weil", "when": ", wenn"}

# Endings by case and by gender (m, f, n) or plural (p).
DER_ENDINGS = {
    "nominative": {"m": "er", "f": "e", "n": "es", "p": "e"},
    "accusative": {"m": "en", "f": "e", "n": "es", "p": "e"},
    "dative": {"m": "em", "f": "er", "n": "em", "p": "en"},
}
ARTICLES = {
    "nominative": {"m": "der", "f": "die", "n": "das", "p": "die"},
    "accusative": {"m": "den", "f": "die", "n": "das", "p": "die"},
    "dative": {"m": "dem", "f": "der", "n": "dem", "p": "den"},
}
# Adjectives after "der" and "dieser"; everywhere else an ending that the determiner does not show moves to them.
WEAK_ENDINGS = {
    "nominative": {"m": "e", "f": "e", "n": "e", "p": "en"},
    "accusative": {"m": "en", "f": "e", "n": "e", "p": "en"},
    "dative": {"m": "en", "f": "en", "n": "en", "p": "en"},
}
EIN_STEMS = {"a": "ein", "my": "mein", "our": "unser", "no": "kein"}


def _has_bare_stem(case: str, gender: str) -> bool:
    """Whether "ein", "mein" and "kein" stand without an ending."""
    return (case == "nominative" and gender in "mn") or (case == "accusative" and gender == "n")


def _noun_form(noun: Noun, plural: bool, case: str) -> str:
    _, singular, *others = noun.de
    if plural:
        return others[1 if case == "dative" else 0]
    if len(others) == 3 and case != "nominative":
        return others[2]
    return singular


def build_noun_phrase(phrase: NounPhrase, case: str, no: bool = False) -> str:
    """The phrase in `case`; `no` negates a phrase without determiner ("kein Brot")."""
    gender = "p" if phrase.plural else phrase.noun.de[0]
    determiner = "no" if no else phrase.determiner
    strong, weak = DER_ENDINGS[case][gender], WEAK_ENDINGS[case][gender]
    if determiner == "the":
        word, ending = ARTICLES[case][gender], weak
    elif determiner == "this":
        word, ending = "dies" + strong, weak
    elif determiner in EIN_STEMS:
        bare = _has_bare_stem(case, gender)
        word, ending = EIN_STEMS[determiner] + ("" if bare else strong), strong if bare else weak
    else:
        word, ending = NUMBERS[phrase.count - 2] if determiner == "number" else "", strong
    adjective = phrase.adjective.de[0] + ending if phrase.adjective else ""
    return join_words(word, adjective, _noun_form(phrase.noun, phrase.plural, case))


def build_pronoun(phrase: NounPhrase) -> str:
    return "sie" if phrase.plural else {"m": "er", "f": "sie", "n": "es"}[phrase.noun.de[0]]


def _verb_form(clause: Clause) -> str:
    forms = clause.verb.de if clause.verb else ("ist", "sind", "war", "waren")
    return forms[2 * clause.past + clause.subject.plural]


def _middle(clause: Clause) -> str:
    """What stands between the subject and a verb at the end: time, object, "nicht", place or state."""
    time = clause.time.de if clause.time and not clause.time_first else ""
    place = clause.place.de if clause.place else ""
    negation = "nicht" if clause.negated else ""
    if clause.object is None or clause.verb is None:
        state = clause.state.de[-1] if clause.state else ""
        return join_words(time, negation, state, place)
    if clause.verb.link == "with":
        return join_words(time, negation, "mit", build_noun_phrase(clause.object, "dative"), place)
    case = "dative" if clause.verb.dative else "accusative"
    if clause.negated and clause.object.determiner == "bare":
        return join_words(time, build_noun_phrase(clause.object, case, no=True), place)
    return join_words(time, build_noun_phrase(clause.object, case), negation, place)


def build_clause(clause: Clause, order: str = "second") -> str:
    """The words of one clause; `order` is the verb's place: "first" (questions), "second" or "last"."""
    subject = build_pronoun(clause.subject) if clause.pronoun else build_noun_phrase(clause.subject, "nominative")
    verb = _verb_form(clause)
    if clause.existence and clause.place:
        return join_words(clause.place.de, verb, subject)
    if order == "last":
        return join_words(subject, _middle(clause), verb)
    if order == "first":
        return join_words(verb, subject, _middle(clause))
    if clause.time and clause.time_first:
        return join_words(clause.time.de, verb, subject, _middle(clause))
    return join_words(subject, verb, _middle(clause))


def build_sentence(sentence: Sentence) -> str:
    """The whole sentence."""
    if sentence.question:
        return capitalize(build_clause(sentence.first, "first")) + "?"
    text = build_clause(sentence.first)
    if sentence.link and sentence.second:
        order = "last" if sentence.link in {"because", "when"} else "second"
        text = f"{text}{LINKS[sentence.link]} {build_clause(sentence.second, order)}"
    return capitalize(text) + "."
