"""Verbs, places and times of the demo text in English, Catalan, Spanish, Romanian and German, written for this project.

The columns of a verb line are

    name; subject tags; object tags; place tags | en: base, 3rd singular, past | ca: singular, plural, infinitive
    | es: singular, plural, past singular, past plural | ro: singular, plural, participle
    | de: singular, plural, past singular, past plural

All present and past forms are third person. The object tags of a verb with the link "with" name the companion. Catalan
builds its past from the infinitive, Romanian from the participle; German uses the simple past.
"""

from dataclasses import dataclass

from kslottery_core.demo.lexicon import read_table


@dataclass(frozen=True)
class Verb:
    """One verb: what may be its subject, object and place, and its forms in each language as listed above.

    `link` is "none" (intransitive), "direct" (an object) or "with" (a companion). `dative` says that the German object
    is in the dative; `personal` that Spanish marks a living object with "a".
    """

    link: str
    subject_tags: frozenset[str]
    object_tags: frozenset[str]
    place_tags: frozenset[str]
    en: tuple[str, ...]
    ca: tuple[str, ...]
    es: tuple[str, ...]
    ro: tuple[str, ...]
    de: tuple[str, ...]

    @property
    def dative(self) -> bool:
        return self.en[0] == "help"

    @property
    def personal(self) -> bool:
        return self.en[0] not in {"buy", "sell", "paint"}


@dataclass(frozen=True)
class Adverbial:
    """A fixed phrase of place or time; `tags` say where it fits."""

    tags: frozenset[str]
    en: str
    ca: str
    es: str
    ro: str
    de: str


VERB_TABLE = """
none   | person, animal | -      | home, outdoor   | sleep, sleeps, slept    | dorm, dormen, dormir | duerme, duermen, durmió, durmieron | doarme, dorm, dormit | schläft, schlafen, schlief, schliefen
none   | person, singer | -      | home, outdoor   | sing, sings, sang       | canta, canten, cantar | canta, cantan, cantó, cantaron | cântă, cântă, cântat | singt, singen, sang, sangen
none   | person         | -      | home, outdoor   | dance, dances, danced   | balla, ballen, ballar | baila, bailan, bailó, bailaron | dansează, dansează, dansat | tanzt, tanzen, tanzte, tanzten
none   | person         | -      | home, outdoor, study, trade | work, works, worked | treballa, treballen, treballar | trabaja, trabajan, trabajó, trabajaron | lucrează, lucrează, lucrat | arbeitet, arbeiten, arbeitete, arbeiteten
none   | person, pet, swift | -  | outdoor         | run, runs, ran          | corre, corren, córrer | corre, corren, corrió, corrieron | aleargă, aleargă, alergat | rennt, rennen, rannte, rannten
none   | person         | -      | outdoor, study, trade | wait, waits, waited | espera, esperen, esperar | espera, esperan, esperó, esperaron | așteaptă, așteaptă, așteptat | wartet, warten, wartete, warteten
none   | person         | -      | home, outdoor   | laugh, laughs, laughed  | riu, riuen, riure | ríe, ríen, rio, rieron | râde, râd, râs | lacht, lachen, lachte, lachten
none   | person         | -      | home, outdoor   | cry, cries, cried       | plora, ploren, plorar | llora, lloran, lloró, lloraron | plânge, plâng, plâns | weint, weinen, weinte, weinten
none   | person         | -      | home, study     | study, studies, studied | estudia, estudien, estudiar | estudia, estudian, estudió, estudiaron | studiază, studiază, studiat | lernt, lernen, lernte, lernten
none   | person, swimmer | -     | water           | swim, swims, swam       | neda, neden, nedar | nada, nadan, nadó, nadaron | înoată, înoată, înotat | schwimmt, schwimmen, schwamm, schwammen
direct | person, pet    | person, animal, thing, tree | home, outdoor | see, sees, saw | veu, veuen, veure | ve, ven, vio, vieron | vede, văd, văzut | sieht, sehen, sah, sahen
direct | person         | thing, animal, person | home, outdoor | look for, looks for, looked for | busca, busquen, buscar | busca, buscan, buscó, buscaron | caută, caută, căutat | sucht, suchen, suchte, suchten
direct | person         | small, pet | home, outdoor | find, finds, found    | troba, troben, trobar | encuentra, encuentran, encontró, encontraron | găsește, găsesc, găsit | findet, finden, fand, fanden
direct | person         | goods, stocked, farm | trade | buy, buys, bought  | compra, compren, comprar | compra, compran, compró, compraron | cumpără, cumpără, cumpărat | kauft, kaufen, kaufte, kauften
direct | person         | goods, stocked, farm | trade | sell, sells, sold  | ven, venen, vendre | vende, venden, vendió, vendieron | vinde, vând, vândut | verkauft, verkaufen, verkaufte, verkauften
direct | person         | text, paper | home, outdoor, study | read, reads, read | llegeix, llegeixen, llegir | lee, leen, leyó, leyeron | citește, citesc, citit | liest, lesen, las, lasen
direct | person         | text, song | home, study | write, writes, wrote    | escriu, escriuen, escriure | escribe, escriben, escribió, escribieron | scrie, scriu, scris | schreibt, schreiben, schrieb, schrieben
direct | person         | food, solid | home, outdoor | eat, eats, ate       | menja, mengen, menjar | come, comen, comió, comieron | mănâncă, mănâncă, mâncat | isst, essen, aß, aßen
direct | person         | liquid | home, outdoor   | drink, drinks, drank    | beu, beuen, beure | bebe, beben, bebió, bebieron | bea, beau, băut | trinkt, trinken, trank, tranken
direct | person         | motif, animal | home, outdoor | paint, paints, painted | pinta, pinten, pintar | pinta, pintan, pintó, pintaron | pictează, pictează, pictat | malt, malen, malte, malten
direct | person         | washed | home            | wash, washes, washed    | renta, renten, rentar | lava, lavan, lavó, lavaron | spală, spală, spălat | wäscht, waschen, wusch, wuschen
direct | person         | load   | outdoor         | carry, carries, carried | porta, porten, portar | lleva, llevan, llevó, llevaron | cară, cară, cărat | trägt, tragen, trug, trugen
direct | person         | lid    | -               | open, opens, opened     | obre, obren, obrir | abre, abren, abrió, abrieron | deschide, deschid, deschis | öffnet, öffnen, öffnete, öffneten
direct | person         | lid    | -               | close, closes, closed   | tanca, tanquen, tancar | cierra, cierran, cerró, cerraron | închide, închid, închis | schließt, schließen, schloss, schlossen
direct | person         | song, singer, pet | home, outdoor | hear, hears, heard | sent, senten, sentir | oye, oyen, oyó, oyeron | aude, aud, auzit | hört, hören, hörte, hörten
direct | person         | song   | home, outdoor, study | sing, sings, sang  | canta, canten, cantar | canta, cantan, cantó, cantaron | cântă, cântă, cântat | singt, singen, sang, sangen
direct | person         | small  | home, study, trade | forget, forgets, forgot | oblida, obliden, oblidar | olvida, olvidan, olvidó, olvidaron | uită, uită, uitat | vergisst, vergessen, vergaß, vergaßen
direct | person         | small  | outdoor, trade  | lose, loses, lost       | perd, perden, perdre | pierde, pierden, perdió, perdieron | pierde, pierd, pierdut | verliert, verlieren, verlor, verloren
direct | person         | machine | home           | repair, repairs, repaired | repara, reparen, reparar | repara, reparan, reparó, repararon | repară, repară, reparat | repariert, reparieren, reparierte, reparierten
direct | person         | person | home, outdoor, study | help, helps, helped | ajuda, ajuden, ajudar | ayuda, ayudan, ayudó, ayudaron | ajută, ajută, ajutat | hilft, helfen, half, halfen
direct | person         | person | -               | visit, visits, visited  | visita, visiten, visitar | visita, visitan, visitó, visitaron | vizitează, vizitează, vizitat | besucht, besuchen, besuchte, besuchten
direct | person         | person | outdoor, study, trade | greet, greets, greeted | saluda, saluden, saludar | saluda, saludan, saludó, saludaron | salută, salută, salutat | grüßt, grüßen, grüßte, grüßten
with   | person         | person | home, outdoor, study, trade | talk, talks, talked | parla, parlen, parlar | habla, hablan, habló, hablaron | vorbește, vorbesc, vorbit | spricht, sprechen, sprach, sprachen
with   | person         | person | home, outdoor   | dance, dances, danced   | balla, ballen, ballar | baila, bailan, bailó, bailaron | dansează, dansează, dansat | tanzt, tanzen, tanzte, tanzten
with   | person         | person | study, trade    | work, works, worked     | treballa, treballen, treballar | trabaja, trabajan, trabajó, trabajaron | lucrează, lucrează, lucrat | arbeitet, arbeiten, arbeitete, arbeiteten
with   | child          | pet, child | home, outdoor | play, plays, played   | juga, juguen, jugar | juega, juegan, jugó, jugaron | se joacă, se joacă, jucat | spielt, spielen, spielte, spielten
with   | person         | person | -               | travel, travels, travelled | viatja, viatgen, viatjar | viaja, viajan, viajó, viajaron | călătorește, călătoresc, călătorit | reist, reisen, reiste, reisten
"""  # noqa: E501

PLACE_TABLE = """
home, spot     | in the kitchen         | a la cuina              | en la cocina           | în bucătărie       | in der Küche
home, outdoor, spot | in the garden     | al jardí                | en el jardín           | în grădină         | im Garten
outdoor        | in the park            | al parc                 | en el parque           | în parc            | im Park
outdoor        | in the street          | al carrer               | en la calle            | pe stradă          | auf der Straße
outdoor        | in the forest          | al bosc                 | en el bosque           | în pădure          | im Wald
outdoor        | at the beach           | a la platja             | en la playa            | pe plajă           | am Strand
outdoor        | near the river         | prop del riu            | cerca del río          | lângă râu          | in der Nähe des Flusses
outdoor, spot  | in front of the house  | davant de la casa       | delante de la casa     | în fața casei      | vor dem Haus
outdoor        | behind the church      | darrere de l'església   | detrás de la iglesia   | în spatele bisericii | hinter der Kirche
outdoor, spot  | under the tree         | sota l'arbre            | debajo del árbol       | sub copac          | unter dem Baum
study          | at school              | a l'escola              | en la escuela          | la școală          | in der Schule
study          | in the library         | a la biblioteca         | en la biblioteca       | la bibliotecă      | in der Bibliothek
trade          | at the market          | al mercat               | en el mercado          | la piață           | auf dem Markt
trade          | at the station         | a l'estació             | en la estación         | în gară            | am Bahnhof
trade          | in the village         | al poble                | en el pueblo           | în sat             | im Dorf
trade          | in the city            | a la ciutat             | en la ciudad           | în oraș            | in der Stadt
water          | in the lake            | al llac                 | en el lago             | în lac             | im See
water          | in the river           | al riu                  | en el río              | în râu             | im Fluss
spot, top      | on the table           | sobre la taula          | sobre la mesa          | pe masă            | auf dem Tisch
spot           | under the table        | sota la taula           | debajo de la mesa      | sub masă           | unter dem Tisch
spot           | next to the window     | al costat de la finestra | al lado de la ventana | lângă fereastră    | neben dem Fenster
"""  # noqa: E501

TIME_TABLE = """
present, state | today            | avui               | hoy                | astăzi           | heute
present        | every day        | cada dia           | todos los días     | în fiecare zi    | jeden Tag
present        | in the morning   | al matí            | por la mañana      | dimineața        | am Morgen
present        | in the afternoon | a la tarda         | por la tarde       | după-amiaza      | am Nachmittag
present        | at night         | a la nit           | por la noche       | noaptea          | in der Nacht
present        | on Sundays       | els diumenges      | los domingos       | duminica         | sonntags
present        | in summer        | a l'estiu          | en verano          | vara             | im Sommer
present        | in winter        | a l'hivern         | en invierno        | iarna            | im Winter
past, state    | yesterday        | ahir               | ayer               | ieri             | gestern
past, state    | last week        | la setmana passada | la semana pasada   | săptămâna trecută | letzte Woche
past           | last year        | l'any passat       | el año pasado      | anul trecut      | letztes Jahr
past, state    | two days ago     | fa dos dies        | hace dos días      | acum două zile   | vor zwei Tagen
past           | on Monday        | dilluns            | el lunes           | luni             | am Montag
"""


def _read_verb(columns: list[tuple[str, ...]]) -> Verb:
    (link,), subject_tags, object_tags, place_tags, *forms = columns
    return Verb(link, frozenset(subject_tags), frozenset(object_tags), frozenset(place_tags), *forms)


def _read_adverbials(table: str) -> tuple[Adverbial, ...]:
    return tuple(Adverbial(frozenset(tags), *(form for (form,) in forms)) for tags, *forms in read_table(table))


VERBS: tuple[Verb, ...] = tuple(_read_verb(columns) for columns in read_table(VERB_TABLE))
PLACES: tuple[Adverbial, ...] = _read_adverbials(PLACE_TABLE)
TIMES: tuple[Adverbial, ...] = _read_adverbials(TIME_TABLE)
