"""The demo's parallel text: English phrases with their Catalan, Spanish, Romanian and German translations.

A sentence is drawn as a plan without words (`clauses`), and each language's grammar says it. Everything, the lexicon
included, was written for this project.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kslottery_core.demo import grammar_english, grammar_german
from kslottery_core.demo.clauses import Clause, NounPhrase, Sentence
from kslottery_core.demo.grammar_romance import CATALAN, ROMANIAN, SPANISH
from kslottery_core.demo.lexicon import ADJECTIVES, NOUNS, Adjective, Noun
from kslottery_core.demo.verbs import PLACES, TIMES, VERBS, Adverbial, Verb
from kslottery_core.errors import CorpusError

LANGUAGES = ("en", "ca", "es", "ro", "de")
TRAIN_SIZE, DEV_SIZE, TEST_SIZE = 5000, 200, 200
MOST_DRAWS_A_ROW = 20
LEAST_WORDS, MOST_WORDS = 4, 14

WHY_STATES = {
    "sleep": ("tired", "sick"),
    "sing": ("happy",),
    "dance": ("happy",),
    "laugh": ("happy",),
    "cry": ("sad", "tired", "sick"),
}


@dataclass(frozen=True)
class PhraseRow:
    """One sentence in the five languages."""

    en: str
    ca: str
    es: str
    ro: str
    de: str

    def to_json(self) -> dict[str, dict[str, str]]:
        """The form of one line of a translation file."""
        return {"translation": {language: getattr(self, language) for language in LANGUAGES}}


class PhraseWriter:
    """Draws sentences that make sense; the same seed draws the same sentences."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def draw_sentence(self) -> Sentence:
        """Draw one sentence of any kind."""
        kinds = (
            (self._draw_action, 40),
            (self._draw_state, 18),
            (self._draw_location, 8),
            (self._draw_existence, 8),
            (self._draw_question, 8),
            (self._draw_pair, 10),
            (self._draw_reason, 8),
        )
        (draw,) = self.random.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        return draw()

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def _draw_noun(self, tags: frozenset[str], besides: Noun | None = None) -> Noun:
        return self.random.choice([noun for noun in NOUNS if noun.tags & tags and noun is not besides])

    def _draw_adjective(self, noun: Noun, attributive: bool) -> Adjective | None:
        fitting = [a for a in ADJECTIVES if a.tags & noun.tags and (a.attributive or not attributive)]
        return self.random.choice(fitting) if fitting else None

    def _draw_noun_phrase(
        self, noun: Noun, *, subject: bool = False, definite: bool = False, adjective: float = 0.35
    ) -> NounPhrase:
        """A phrase about `noun`; a subject is never bare, and `definite` leaves out what names nothing known."""
        chosen = self._draw_adjective(noun, attributive=True) if self._chance(adjective) else None
        if "mass" in noun.tags:
            bare = "bare" in noun.tags or not (definite or subject or self._chance(0.3))
            return NounPhrase(noun, "bare" if bare else "the", adjective=chosen)
        if "family" in noun.tags:
            plural = "one" not in noun.tags and self._chance(0.3)
            return NounPhrase(noun, self.random.choice(("my", "our")), plural, adjective=chosen)
        determiners = ["the"] * 5 + ["this"] * 2
        if "stranger" not in noun.tags:
            determiners += ["my", "our"]
        if not definite:
            determiners += ["a"] * 4 + ["number"] * 2
            if not subject and "person" not in noun.tags:
                determiners.append("bare")
        determiner = self.random.choice(determiners)
        if determiner == "number":
            return NounPhrase(noun, determiner, True, self.random.randint(2, 9), chosen)
        plural = determiner == "bare" or (determiner != "a" and self._chance(0.35))
        return NounPhrase(noun, determiner, plural, adjective=chosen)

    def _draw_place(self, tags: frozenset[str]) -> Adverbial:
        return self.random.choice([place for place in PLACES if place.tags & tags])

    def _draw_time(self, tag: str) -> Adverbial:
        return self.random.choice([time for time in TIMES if tag in time.tags])

    def _draw_act(self, verb: Verb, *, plain: bool = False, past: bool = False, negated: bool = False) -> Clause:
        """Somebody does something; a `plain` clause has neither place nor time, and fewer adjectives."""
        adjective = 0.15 if plain else 0.3
        doer = self._draw_noun(verb.subject_tags)
        subject = self._draw_noun_phrase(doer, subject=True, definite=negated, adjective=adjective)
        thing = None
        if verb.link != "none":
            noun = self._draw_noun(verb.object_tags, besides=doer)
            thing = self._draw_noun_phrase(noun, definite=verb.link == "with", adjective=adjective)
            if negated and not thing.definite:
                # "does not buy a book" is said differently in each language; without determiner it is not.
                some = "mass" in noun.tags or noun.tags & {"goods", "text", "animal"}
                thing = (
                    NounPhrase(noun, "bare", "mass" not in noun.tags, adjective=thing.adjective)
                    if some
                    else self._draw_noun_phrase(noun, definite=True)
                )
        place = time = None
        places = [p for p in PLACES if p.tags & verb.place_tags]
        if not plain and places and not (negated and thing) and self._chance(0.5):
            place = self.random.choice(places)
        if not plain and self._chance(0.4):
            time = self._draw_time("past" if past else "present")
        return Clause(subject, verb, thing, place=place, time=time, past=past, negated=negated)

    def _draw_verb(self, past: bool = False) -> Verb:
        # English "read" looks the same in both times, so that a plural subject would leave the time open.
        return self.random.choice([verb for verb in VERBS if not (past and verb.en[0] == verb.en[2])])

    def _draw_action(self) -> Sentence:
        past, negated = self._chance(0.35), self._chance(0.15)
        clause = self._draw_act(self._draw_verb(past), past=past, negated=negated)
        if clause.time and self._chance(0.4):
            return Sentence(replace(clause, time_first=True))
        return Sentence(clause)

    def _draw_state_clause(self) -> Clause:
        while True:
            noun = self.random.choice([noun for noun in NOUNS if "bare" not in noun.tags])
            if state := self._draw_adjective(noun, attributive=False):
                break
        subject = self._draw_noun_phrase(noun, subject=True, definite=True, adjective=0)
        negated = self._chance(0.25)
        time = None
        past = False
        if state.copula == "estar" and "mass" not in noun.tags and self._chance(0.5):
            time = self._draw_time("state")
            past = "past" in time.tags
        clause = Clause(subject, state=state, time=time, past=past, negated=negated)
        return replace(clause, time_first=True) if time and self._chance(0.4) else clause

    def _draw_state(self) -> Sentence:
        return Sentence(self._draw_state_clause())

    def _draw_located(self, existence: bool) -> Clause:
        place = self._draw_place(frozenset({"spot"}))
        tags = {"small"} if "top" in place.tags else {"pet", "small"}
        noun = self._draw_noun(frozenset(tags))
        if not existence:
            return Clause(self._draw_noun_phrase(noun, subject=True, definite=True, adjective=0.5), place=place)
        adjective = self._draw_adjective(noun, attributive=True) if self._chance(0.5) else None
        if self._chance(0.4):
            return Clause(NounPhrase(noun, "a", adjective=adjective), place=place, existence=True)
        count = self.random.randint(2, 9)
        return Clause(NounPhrase(noun, "number", True, count, adjective), place=place, existence=True)

    def _draw_location(self) -> Sentence:
        return Sentence(self._draw_located(existence=False))

    def _draw_existence(self) -> Sentence:
        return Sentence(self._draw_located(existence=True))

    def _draw_question(self) -> Sentence:
        if self._chance(0.3):
            clause = self._draw_state_clause()
            return Sentence(Clause(clause.subject, state=clause.state), question=True)
        past = self._chance(0.3)
        clause = self._draw_act(self.random.choice(VERBS), past=past)
        return Sentence(clause, question=True)

    def _draw_pair(self) -> Sentence:
        link = self.random.choice(("and", "but", "when"))
        past = link != "when" and self._chance(0.3)
        first = self._draw_act(self._draw_verb(past), plain=True, past=past, negated=link == "but")
        while True:
            second = self._draw_act(self._draw_verb(past), plain=True, past=past)
            if second.subject.noun is not first.subject.noun:
                return Sentence(first, link, second)

    def _draw_reason(self) -> Sentence:
        verb = self.random.choice([v for v in VERBS if v.link == "none" and v.en[0] in WHY_STATES])
        past = self._chance(0.4)
        act = self._draw_act(verb, plain=True, past=past)
        if self._chance(0.5):
            act = Clause(act.subject, verb, place=self._draw_place(verb.place_tags), past=past)
        (noun, wanted) = (act.subject.noun, WHY_STATES[verb.en[0]])
        states = [a for a in ADJECTIVES if not a.attributive and a.en in wanted and a.tags & noun.tags]
        if not states:
            return Sentence(act)
        reason = Clause(act.subject, state=self.random.choice(states), past=past, pronoun=True)
        return Sentence(act, "because", reason)


def write_sentence(sentence: Sentence) -> PhraseRow:
    """Say one sentence in the five languages."""
    return PhraseRow(
        en=grammar_english.build_sentence(sentence),
        ca=CATALAN.build_sentence(sentence),
        es=SPANISH.build_sentence(sentence),
        ro=ROMANIAN.build_sentence(sentence),
        de=grammar_german.build_sentence(sentence),
    )


def generate_phrases(seed: int = 0, count: int = TRAIN_SIZE + DEV_SIZE + TEST_SIZE) -> tuple[PhraseRow, ...]:
    """Draw `count` rows of 4 to 14 English words; no two rows share a sentence in any of the five languages.

    Raises CorpusError when the lexicon does not hold so many sentences.
    """
    writer = PhraseWriter(seed)
    seen: set[tuple[str, str]] = set()
    rows: list[PhraseRow] = []
    draws = 0
    while len(rows) < count:
        draws += 1
        if draws > MOST_DRAWS_A_ROW * count:
            raise CorpusError(
                f"count: asked for {count} different demo phrases, found {len(rows)} in {draws - 1} draws; "
                "ask for fewer."
            )
        row = write_sentence(writer.draw_sentence())
        if not LEAST_WORDS <= len(row.en.split()) <= MOST_WORDS:
            continue
        sentences = {(language, getattr(row, language)) for language in LANGUAGES}
        if seen.isdisjoint(sentences):
            seen |= sentences
            rows.append(row)
    return tuple(rows)


def split_phrases(rows: Sequence[PhraseRow]) -> dict[str, tuple[PhraseRow, ...]]:
    """Divide rows into "test", "dev" and "train" (what is left)."""
    held_out = DEV_SIZE + TEST_SIZE
    return {
        "train": tuple(rows[held_out:]),
        "dev": tuple(rows[TEST_SIZE:held_out]),
        "test": tuple(rows[:TEST_SIZE]),
    }


def save_demo_corpora(folder: Path, seed: int = 0) -> dict[str, Path]:
    """Write train.jsonl, dev.jsonl and test.jsonl into `folder`; returns their paths by split."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for split, rows in split_phrases(generate_phrases(seed)).items():
        paths[split] = folder / f"{split}.jsonl"
        lines = [json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in rows]
        paths[split].write_text("".join(lines), encoding="utf-8", newline="\n")
    return paths
