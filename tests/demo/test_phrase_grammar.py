"""What the grammars of the demo text say, checked against sentences written by hand."""

from dataclasses import replace

import pytest

from kslottery_core.demo.clauses import Clause, NounPhrase, Sentence
from kslottery_core.demo.grammar_romance import elides
from kslottery_core.demo.lexicon import ADJECTIVES, NOUNS
from kslottery_core.demo.phrases import PhraseRow, write_sentence
from kslottery_core.demo.verbs import PLACES, TIMES, VERBS


def noun(text):
    return next(noun for noun in NOUNS if noun.en[0] == text)


def adjective(text, tag=None):
    return next(a for a in ADJECTIVES if a.en == text and (tag is None or tag in a.tags))


def verb(text, link="direct"):
    return next(verb for verb in VERBS if verb.en[0] == text and verb.link == link)


def place(text):
    return next(place for place in PLACES if place.en == text)


def time(text):
    return next(time for time in TIMES if time.en == text)


def the(text, *, plural=False, adjective=None):
    return NounPhrase(noun(text), "the", plural, adjective=adjective)


def phrase(determiner, text, *, plural=False, adjective=None, count=0):
    return NounPhrase(noun(text), determiner, plural or determiner == "number", count, adjective)


READS = Clause(the("girl"), verb("read"), the("newspaper"))
SLEEPS = Clause(the("cat"), verb("sleep", "none"))
SEES = Clause(the("boy"), verb("see"), the("girl"))

# Written by hand, before the grammars were run on them.
SENTENCES = [
    (
        Sentence(Clause(the("man"), verb("open"), the("bottle"))),
        "The man opens the bottle.",
        "L'home obre l'ampolla.",
        "El hombre abre la botella.",
        "Bărbatul deschide sticla.",
        "Der Mann öffnet die Flasche.",
    ),
    (
        Sentence(
            Clause(
                phrase("number", "woman", count=2),
                verb("buy"),
                phrase("bare", "flower", plural=True, adjective=adjective("red")),
                place=place("at the market"),
            )
        ),
        "Two women buy red flowers at the market.",
        "Dues dones compren flors vermelles al mercat.",
        "Dos mujeres compran flores rojas en el mercado.",
        "Două femei cumpără flori roșii la piață.",
        "Zwei Frauen kaufen rote Blumen auf dem Markt.",
    ),
    (
        Sentence(SEES),
        "The boy sees the girl.",
        "El noi veu la noia.",
        "El chico ve a la chica.",
        "Băiatul o vede pe fată.",
        "Der Junge sieht das Mädchen.",
    ),
    (
        Sentence(replace(SEES, subject=the("girl"), object=the("boy", adjective=adjective("tall")), past=True)),
        "The girl saw the tall boy.",
        "La noia va veure el noi alt.",
        "La chica vio al chico alto.",
        "Fata l-a văzut pe băiatul înalt.",
        "Das Mädchen sah den großen Jungen.",
    ),
    (
        Sentence(
            Clause(phrase("my", "sister"), verb("help"), the("student", plural=True), past=True, negated=True),
        ),
        "My sister did not help the students.",
        "La meva germana no va ajudar els estudiants.",
        "Mi hermana no ayudó a los estudiantes.",
        "Sora mea nu i-a ajutat pe studenți.",
        "Meine Schwester half den Studenten nicht.",
    ),
    (
        Sentence(Clause(phrase("our", "brother", plural=True), verb("visit"), phrase("my", "grandmother"), past=True)),
        "Our brothers visited my grandmother.",
        "Els nostres germans van visitar la meva àvia.",
        "Nuestros hermanos visitaron a mi abuela.",
        "Frații noștri au vizitat-o pe bunica mea.",
        "Unsere Brüder besuchten meine Großmutter.",
    ),
    (
        Sentence(
            Clause(
                phrase("this", "girl", plural=True),
                verb("play", "with"),
                phrase("our", "dog", plural=True, adjective=adjective("black")),
                time=time("last week"),
                time_first=True,
                past=True,
            )
        ),
        "Last week these girls played with our black dogs.",
        "La setmana passada aquestes noies van jugar amb els nostres gossos negres.",
        "La semana pasada estas chicas jugaron con nuestros perros negros.",
        "Săptămâna trecută aceste fete s-au jucat cu câinii noștri negri.",
        "Letzte Woche spielten diese Mädchen mit unseren schwarzen Hunden.",
    ),
    (
        Sentence(
            SLEEPS,
            "because",
            Clause(the("cat"), state=adjective("tired"), pronoun=True),
        ),
        "The cat sleeps because it is tired.",
        "El gat dorm perquè està cansat.",
        "El gato duerme porque está cansado.",
        "Pisica doarme pentru că este obosită.",
        "Die Katze schläft, weil sie müde ist.",
    ),
    (
        Sentence(
            Clause(the("soup"), state=adjective("hot")),
            "but",
            Clause(phrase("this", "song", plural=True), state=adjective("short"), negated=True),
        ),
        "The soup is hot, but these songs are not short.",
        "La sopa està calenta, però aquestes cançons no són curtes.",
        "La sopa está caliente, pero estas canciones no son cortas.",
        "Supa este fierbinte, dar aceste cântece nu sunt scurte.",
        "Die Suppe ist heiß, aber diese Lieder sind nicht kurz.",
    ),
    (
        Sentence(
            Clause(
                phrase("number", "egg", count=3, adjective=adjective("cheap")),
                place=place("in the kitchen"),
                existence=True,
            )
        ),
        "There are three cheap eggs in the kitchen.",
        "Hi ha tres ous barats a la cuina.",
        "Hay tres huevos baratos en la cocina.",
        "În bucătărie sunt trei ouă ieftine.",
        "In der Küche sind drei billige Eier.",
    ),
    (
        Sentence(replace(READS, place=place("under the tree"), time=time("every day")), question=True),
        "Does the girl read the newspaper under the tree every day?",
        "La noia llegeix el diari sota l'arbre cada dia?",
        "¿La chica lee el periódico debajo del árbol todos los días?",
        "Fata citește ziarul sub copac în fiecare zi?",
        "Liest das Mädchen jeden Tag die Zeitung unter dem Baum?",
    ),
    (
        Sentence(
            Clause(the("doctor"), verb("drink"), phrase("bare", "coffee", adjective=adjective("hot")), negated=True)
        ),
        "The doctor does not drink hot coffee.",
        "El metge no beu cafè calent.",
        "El médico no bebe café caliente.",
        "Medicul nu bea cafea fierbinte.",
        "Der Arzt trinkt keinen heißen Kaffee.",
    ),
    (
        Sentence(
            Clause(the("neighbour"), verb("sell"), phrase("a", "car", adjective=adjective("expensive")), past=True),
            "and",
            Clause(phrase("my", "brother"), verb("write"), the("story")),
        ),
        "The neighbour sold an expensive car and my brother writes the story.",
        "La veïna va vendre un cotxe car i el meu germà escriu la història.",
        "La vecina vendió un coche caro y mi hermano escribe la historia.",
        "Vecina a vândut o mașină scumpă și fratele meu scrie povestea.",
        "Die Nachbarin verkaufte ein teures Auto und mein Bruder schreibt die Geschichte.",
    ),
    (
        Sentence(
            Clause(phrase("a", "bird", adjective=adjective("small")), verb("sing", "none")),
            "when",
            Clause(phrase("my", "father"), verb("work", "none"), place=place("in the garden"), negated=True),
        ),
        "A small bird sings when my father does not work in the garden.",
        "Un ocell petit canta quan el meu pare no treballa al jardí.",
        "Un pájaro pequeño canta cuando mi padre no trabaja en el jardín.",
        "O pasăre mică cântă când tatăl meu nu lucrează în grădină.",
        "Ein kleiner Vogel singt, wenn mein Vater nicht im Garten arbeitet.",
    ),
    (
        Sentence(
            Clause(the("actress", plural=True), verb("travel", "with"), phrase("this", "man"), time=time("in summer"))
        ),
        "The actresses travel with this man in summer.",
        "Les actrius viatgen amb aquest home a l'estiu.",
        "Las actrices viajan con este hombre en verano.",
        "Actrițele călătoresc cu acest bărbat vara.",
        "Die Schauspielerinnen reisen im Sommer mit diesem Mann.",
    ),
    (
        Sentence(
            Clause(the("teacher"), verb("greet"), the("woman", plural=True, adjective=adjective("famous"))),
        ),
        "The teacher greets the famous women.",
        "El professor saluda les dones famoses.",
        "El profesor saluda a las mujeres famosas.",
        "Profesorul le salută pe femeile celebre.",
        "Der Lehrer grüßt die berühmten Frauen.",
    ),
    (
        Sentence(
            Clause(
                the("door"),
                state=adjective("open"),
                time=time("yesterday"),
                time_first=True,
                past=True,
            )
        ),
        "Yesterday the door was open.",
        "Ahir la porta estava oberta.",
        "Ayer la puerta estaba abierta.",
        "Ieri ușa era deschisă.",
        "Gestern war die Tür offen.",
    ),
    (
        Sentence(Clause(phrase("my", "key", plural=True), place=place("on the table"))),
        "My keys are on the table.",
        "Les meves claus són sobre la taula.",
        "Mis llaves están sobre la mesa.",
        "Cheile mele sunt pe masă.",
        "Meine Schlüssel sind auf dem Tisch.",
    ),
    (
        Sentence(
            Clause(
                the("farmer", plural=True),
                verb("look for"),
                the("horse", adjective=adjective("white")),
                place=place("behind the church"),
                past=True,
            )
        ),
        "The farmers looked for the white horse behind the church.",
        "Els pagesos van buscar el cavall blanc darrere de l'església.",
        "Los granjeros buscaron al caballo blanco detrás de la iglesia.",
        "Fermierii au căutat calul alb în spatele bisericii.",
        "Die Bauern suchten das weiße Pferd hinter der Kirche.",
    ),
]


@pytest.mark.parametrize("case", SENTENCES, ids=[case[1] for case in SENTENCES])
def test_hand_written_sentences_come_out_in_every_language(case):
    sentence, *expected = case
    assert write_sentence(sentence) == PhraseRow(*expected)


@pytest.mark.parametrize(
    ("subject", "english", "german"),
    [
        (the("girl"), "The girl cries because she is sad.", "Das Mädchen weint, weil es traurig ist."),
        (the("man"), "The man cries because he is sad.", "Der Mann weint, weil er traurig ist."),
        (the("boy", plural=True), "The boys cry because they are sad.", "Die Jungen weinen, weil sie traurig sind."),
    ],
)
def test_pronoun_follows_person_in_english_and_gender_in_german(subject, english, german):
    reason = Clause(subject, state=adjective("sad", "person"), pronoun=True)
    row = write_sentence(Sentence(Clause(subject, verb("cry", "none")), "because", reason))
    assert (row.en, row.de) == (english, german)


def test_catalan_article_elides_except_before_unstressed_i():
    assert [text for text in ("man", "actress", "bottle", "egg") if elides(noun(text))] == [
        "man",
        "actress",
        "bottle",
        "egg",
    ]
    assert not elides(noun("story"))
    assert not elides(noun("house"))


def test_german_weak_noun_takes_its_ending_in_every_case_but_the_nominative():
    talk = Clause(phrase("this", "student"), verb("talk", "with"), phrase("a", "farmer"))
    assert write_sentence(Sentence(talk)).de == "Dieser Student spricht mit einem Bauern."
    greet = Clause(phrase("a", "farmer"), verb("greet"), phrase("my", "student"))
    assert write_sentence(Sentence(greet)).de == "Ein Bauer grüßt meinen Studenten."
