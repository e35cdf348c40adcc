"""English sentences of the demo text."""

from kslottery_core.demo.clauses import Clause, NounPhrase, Sentence, capitalize, join_words

NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")


def build_noun_phrase(phrase: NounPhrase) -> str:
    adjective = phrase.adjective.en if phrase.adjective else ""
    noun = phrase.noun.en[1 if phrase.plural else 0]
    determiner = phrase.determiner
    if determiner == "bare":
        determiner = ""
    elif determiner == "number":
        determiner = NUMBERS[phrase.count - 2]
    elif determiner == "this":
        determiner = "these" if phrase.plural else "this"
    elif determiner == "a":
        # Every word of the lexicon that begins with a vowel letter begins with a vowel sound.
        determiner = "an" if (adjective or noun)[0] in "aeiou" else "a"
    return join_words(determiner, adjective, noun)


def build_pronoun(phrase: NounPhrase) -> str:
    if phrase.plural:
        return "they"
    if not phrase.person:
        return "it"
    return "he" if phrase.noun.ca[0] == "m" else "she"


def _verb_words(clause: Clause) -> str:
    plural = clause.subject.plural
    if clause.verb is None:
        be = ("were" if plural else "was") if clause.past else ("are" if plural else "is")
        return join_words(be, "not" if clause.negated else "")
    base, third, past = clause.verb.en
    if clause.negated:
        return f"{_auxiliary(clause)} not {base}"
    if clause.past:
        return past
    return base if plural else third


def _auxiliary(clause: Clause) -> str:
    if clause.past:
        return "did"
    return "do" if clause.subject.plural else "does"


def _tail(clause: Clause) -> str:
    state = clause.state.en if clause.state else ""
    link = "with" if clause.verb and clause.verb.link == "with" else ""
    complement = join_words(link, build_noun_phrase(clause.object)) if clause.object else state
    place = clause.place.en if clause.place else ""
    time = clause.time.en if clause.time and not clause.time_first else ""
    return join_words(complement, place, time)


def build_clause(clause: Clause) -> str:
    """The words of one clause, without capital and full stop."""
    subject = build_pronoun(clause.subject) if clause.pronoun else build_noun_phrase(clause.subject)
    if clause.existence:
        return join_words("there", _verb_words(clause), subject, _tail(clause))
    time = clause.time.en if clause.time and clause.time_first else ""
    return join_words(time, subject, _verb_words(clause), _tail(clause))


def build_question(clause: Clause) -> str:
    """The words of one yes-or-no question, without capital and question mark."""
    subject = build_noun_phrase(clause.subject)
    if clause.verb is None:
        return join_words(_verb_words(clause), subject, _tail(clause))
    return join_words(_auxiliary(clause), subject, clause.verb.en[0], _tail(clause))


def build_sentence(sentence: Sentence) -> str:
    """The whole sentence."""
    if sentence.question:
        return capitalize(build_question(sentence.first)) + "?"
    text = build_clause(sentence.first)
    if sentence.link and sentence.second:
        comma = "," if sentence.link == "but" else ""
        text = f"{text}{comma} {sentence.link} {build_clause(sentence.second)}"
    return capitalize(text) + "."
