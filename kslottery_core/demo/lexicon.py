"""Nouns and adjectives of the demo text in English, Catalan, Spanish, Romanian and German, written for this project.

Each table line is one word: languages separated by "|", the forms of one language by ",". The columns are

    noun      tags | en: singular, plural | ca: gender, singular, plural | es: gender, singular, plural
              | ro: gender, singular, definite singular, plural, definite plural
              | de: gender, singular, plural, dative plural[, accusative and dative singular of a weak noun]
    adjective uses | en | ca: m.sg, f.sg, m.pl, f.pl | es: the same four | ro: the same four | de: stem[, predicative]

Genders are m, f and n; a Romanian neuter agrees like a masculine in the singular and a feminine in the plural.
Tags say what sensibly happens to a thing, so that phrases stay plausible: an adjective's or verb's tags must meet the
noun's. A mass noun has only its singular.
"""

from dataclasses import dataclass

FEMININE_WITHOUT_ELISION = frozenset({"història"})  # Catalan "la" stays whole before an unstressed i or u


@dataclass(frozen=True)
class Noun:
    """One noun; `tags` name the kinds of thing it is, each language's field holds the forms listed above."""

    tags: frozenset[str]
    en: tuple[str, ...]
    ca: tuple[str, ...]
    es: tuple[str, ...]
    ro: tuple[str, ...]
    de: tuple[str, ...]


@dataclass(frozen=True)
class Adjective:
    """One adjective.

    `copula` is the verb "to be" that Spanish and Catalan use with it ("ser" or "estar"); `attributive` says whether it
    may stand beside a noun; `tags` are the kinds of noun it describes.
    """

    copula: str
    attributive: bool
    tags: frozenset[str]
    en: str
    ca: tuple[str, ...]
    es: tuple[str, ...]
    ro: tuple[str, ...]
    de: tuple[str, ...]


def read_table(table: str) -> list[list[tuple[str, ...]]]:
    """Split a table into lines, columns and forms; blank lines are left out."""
    return [
        [tuple(form.strip() for form in column.split(",")) for column in line.split("|")]
        for line in table.splitlines()
        if line.strip()
    ]


NOUN_TABLE = """
person, child, stranger | boy, boys         | m, noi, nois            | m, chico, chicos        | m, băiat, băiatul, băieți, băieții | m, Junge, Jungen, Jungen, Jungen
person, child, stranger, youthful | girl, girls       | f, noia, noies          | f, chica, chicas        | f, fată, fata, fete, fetele | n, Mädchen, Mädchen, Mädchen
person, grown, stranger, youthful | man, men          | m, home, homes          | m, hombre, hombres      | m, bărbat, bărbatul, bărbați, bărbații | m, Mann, Männer, Männern
person, grown, stranger, youthful | woman, women      | f, dona, dones          | f, mujer, mujeres       | f, femeie, femeia, femei, femeile | f, Frau, Frauen, Frauen
person, grown, youthful | teacher, teachers | m, professor, professors | m, profesor, profesores | m, profesor, profesorul, profesori, profesorii | m, Lehrer, Lehrer, Lehrern
person, grown, youthful | friend, friends   | m, amic, amics          | m, amigo, amigos        | m, prieten, prietenul, prieteni, prietenii | m, Freund, Freunde, Freunden
person, grown, youthful | doctor, doctors   | m, metge, metges        | m, médico, médicos      | m, medic, medicul, medici, medicii | m, Arzt, Ärzte, Ärzten
person, grown, stranger, youthful | farmer, farmers   | m, pagès, pagesos       | m, granjero, granjeros  | m, fermier, fermierul, fermieri, fermierii | m, Bauer, Bauern, Bauern, Bauern
person, youthful | student, students | m, estudiant, estudiants | m, estudiante, estudiantes | m, student, studentul, studenți, studenții | m, Student, Studenten, Studenten, Studenten
person, grown, youthful | neighbour, neighbours | f, veïna, veïnes    | f, vecina, vecinas      | f, vecină, vecina, vecine, vecinele | f, Nachbarin, Nachbarinnen, Nachbarinnen
person, grown, stranger, youthful | actress, actresses | f, actriu, actrius     | f, actriz, actrices     | f, actriță, actrița, actrițe, actrițele | f, Schauspielerin, Schauspielerinnen, Schauspielerinnen
person, family, youthful | sister, sisters   | f, germana, germanes    | f, hermana, hermanas    | f, soră, sora, surori, surorile | f, Schwester, Schwestern, Schwestern
person, family, youthful | brother, brothers | m, germà, germans       | m, hermano, hermanos    | m, frate, fratele, frați, frații | m, Bruder, Brüder, Brüdern
person, family, one | mother, mothers | f, mare, mares          | f, madre, madres        | f, mamă, mama, mame, mamele | f, Mutter, Mütter, Müttern
person, family, one | father, fathers | m, pare, pares          | m, padre, padres        | m, tată, tatăl, tați, tații | m, Vater, Väter, Vätern
person, family, one | grandmother, grandmothers | f, àvia, àvies | f, abuela, abuelas      | f, bunică, bunica, bunici, bunicile | f, Großmutter, Großmütter, Großmüttern
person, family, one | grandfather, grandfathers | m, avi, avis  | m, abuelo, abuelos      | m, bunic, bunicul, bunici, bunicii | m, Großvater, Großväter, Großvätern
animal, pet       | dog, dogs         | m, gos, gossos          | m, perro, perros        | m, câine, câinele, câini, câinii | m, Hund, Hunde, Hunden
animal, pet       | cat, cats         | m, gat, gats            | m, gato, gatos          | f, pisică, pisica, pisici, pisicile | f, Katze, Katzen, Katzen
animal, farm, swift | horse, horses   | m, cavall, cavalls      | m, caballo, caballos    | m, cal, calul, cai, caii | n, Pferd, Pferde, Pferden
animal, farm      | cow, cows         | f, vaca, vaques         | f, vaca, vacas          | f, vacă, vaca, vaci, vacile | f, Kuh, Kühe, Kühen
animal, farm      | goat, goats       | f, cabra, cabres        | f, cabra, cabras        | f, capră, capra, capre, caprele | f, Ziege, Ziegen, Ziegen
animal, singer    | bird, birds       | m, ocell, ocells        | m, pájaro, pájaros      | f, pasăre, pasărea, păsări, păsările | m, Vogel, Vögel, Vögeln
animal, swimmer   | duck, ducks       | m, ànec, ànecs          | m, pato, patos          | f, rață, rața, rațe, rațele | f, Ente, Enten, Enten
thing, goods, small, text  | book, books | m, llibre, llibres    | m, libro, libros        | f, carte, cartea, cărți, cărțile | n, Buch, Bücher, Büchern
thing, small, text, letter | letter, letters | f, carta, cartes  | f, carta, cartas        | f, scrisoare, scrisoarea, scrisori, scrisorile | m, Brief, Briefe, Briefen
thing, goods, small, paper | newspaper, newspapers | m, diari, diaris | m, periódico, periódicos | n, ziar, ziarul, ziare, ziarele | f, Zeitung, Zeitungen, Zeitungen
story, text       | story, stories    | f, història, històries  | f, historia, historias  | f, poveste, povestea, povești, poveștile | f, Geschichte, Geschichten, Geschichten
song              | song, songs       | f, cançó, cançons       | f, canción, canciones   | n, cântec, cântecul, cântece, cântecele | n, Lied, Lieder, Liedern
thing, goods, machine, coloured, swift, washed | car, cars | m, cotxe, cotxes | m, coche, coches | f, mașină, mașina, mașini, mașinile | n, Auto, Autos, Autos
thing, goods, machine, coloured | bicycle, bicycles | f, bicicleta, bicicletes | f, bicicleta, bicicletas | f, bicicletă, bicicleta, biciclete, bicicletele | n, Fahrrad, Fahrräder, Fahrrädern
thing, goods, machine, small | clock, clocks | m, rellotge, rellotges | m, reloj, relojes | n, ceas, ceasul, ceasuri, ceasurile | f, Uhr, Uhren, Uhren
thing, house      | house, houses     | f, casa, cases          | f, casa, casas          | f, casă, casa, case, casele | n, Haus, Häuser, Häusern
thing, goods, machine, load | table, tables | f, taula, taules    | f, mesa, mesas          | f, masă, masa, mese, mesele | m, Tisch, Tische, Tischen
thing, goods, machine, load, coloured | chair, chairs | f, cadira, cadires | f, silla, sillas | n, scaun, scaunul, scaune, scaunele | m, Stuhl, Stühle, Stühlen
thing, machine, coloured, lid | door, doors | f, porta, portes    | f, puerta, puertas      | f, ușă, ușa, uși, ușile | f, Tür, Türen, Türen
thing, machine, lid | window, windows | f, finestra, finestres  | f, ventana, ventanas    | f, fereastră, fereastra, ferestre, ferestrele | n, Fenster, Fenster, Fenstern
thing, goods, load, coloured, lid, vessel, small | bag, bags | f, bossa, bosses | f, bolsa, bolsas | f, geantă, geanta, genți, gențile | f, Tasche, Taschen, Taschen
thing, goods, load, coloured, lid, vessel | box, boxes | f, caixa, caixes | f, caja, cajas | f, cutie, cutia, cutii, cutiile | f, Kiste, Kisten, Kisten
thing, goods, small, lid, vessel, washed | bottle, bottles | f, ampolla, ampolles | f, botella, botellas | f, sticlă, sticla, sticle, sticlele | f, Flasche, Flaschen, Flaschen
thing, goods, small, coloured | hat, hats | m, barret, barrets | m, sombrero, sombreros    | f, pălărie, pălăria, pălării, pălăriile | m, Hut, Hüte, Hüten
thing, goods, small, coloured, washed | shirt, shirts | f, camisa, camises | f, camisa, camisas | f, cămașă, cămașa, cămăși, cămășile | n, Hemd, Hemden, Hemden
thing, small      | key, keys         | f, clau, claus          | f, llave, llaves        | f, cheie, cheia, chei, cheile | m, Schlüssel, Schlüssel, Schlüsseln
thing, goods, small | picture, pictures | m, quadre, quadres    | m, cuadro, cuadros      | n, tablou, tabloul, tablouri, tablourile | n, Bild, Bilder, Bildern
thing, goods, coloured, motif | flower, flowers | f, flor, flors  | f, flor, flores         | f, floare, floarea, flori, florile | f, Blume, Blumen, Blumen
tree, motif       | tree, trees       | m, arbre, arbres        | m, árbol, árboles       | m, copac, copacul, copaci, copacii | m, Baum, Bäume, Bäumen
goods, food, washed | apple, apples   | f, poma, pomes          | f, manzana, manzanas    | n, măr, mărul, mere, merele | m, Apfel, Äpfel, Äpfeln
goods, food       | orange, oranges   | f, taronja, taronges    | f, naranja, naranjas    | f, portocală, portocala, portocale, portocalele | f, Orange, Orangen, Orangen
goods, food       | egg, eggs         | m, ou, ous              | m, huevo, huevos        | n, ou, oul, ouă, ouăle | n, Ei, Eier, Eiern
mass, solid, stocked, fresh | bread     | m, pa                   | m, pan                  | f, pâine, pâinea | n, Brot
mass, solid, stocked, fresh | cheese    | m, formatge             | m, queso                | f, brânză, brânza | m, Käse
mass, solid, cold, hot  | soup          | f, sopa                 | f, sopa                 | f, supă, supa | f, Suppe
mass, liquid, stocked, fresh, cold, hot | milk | f, llet           | f, leche                | n, lapte, laptele | f, Milch
mass, liquid, stocked, hot | coffee     | m, cafè                 | m, café                 | f, cafea, cafeaua | m, Kaffee
mass, liquid, stocked, cold, hot | tea  | m, te                   | m, té                   | n, ceai, ceaiul | m, Tee
mass, liquid, cold, bare | water        | f, aigua                | f, agua                 | f, apă, apa | n, Wasser
"""  # noqa: E501

# "ser" and "estar" stand beside a noun too; "state" takes estar and only follows the verb.
ADJECTIVE_TABLE = """
ser, thing, animal, tree      | big         | gran, gran, grans, grans | grande, grande, grandes, grandes | mare, mare, mari, mari | groß
ser, thing, animal, tree      | small       | petit, petita, petits, petites | pequeño, pequeña, pequeños, pequeñas | mic, mică, mici, mici | klein
ser, thing                    | new         | nou, nova, nous, noves | nuevo, nueva, nuevos, nuevas | nou, nouă, noi, noi | neu
ser, thing, text, song        | old         | vell, vella, vells, velles | viejo, vieja, viejos, viejas | vechi, veche, vechi, vechi | alt
ser, grown, one, animal       | old         | vell, vella, vells, velles | viejo, vieja, viejos, viejas | bătrân, bătrână, bătrâni, bătrâne | alt
ser, youthful                 | young       | jove, jove, joves, joves | joven, joven, jóvenes, jóvenes | tânăr, tânără, tineri, tinere | jung
ser, person                   | tall        | alt, alta, alts, altes | alto, alta, altos, altas | înalt, înaltă, înalți, înalte | groß
ser, person                   | friendly    | simpàtic, simpàtica, simpàtics, simpàtiques | simpático, simpática, simpáticos, simpáticas | prietenos, prietenoasă, prietenoși, prietenoase | freundlich
ser, person                   | famous      | famós, famosa, famosos, famoses | famoso, famosa, famosos, famosas | celebru, celebră, celebri, celebre | berühmt
ser, person, farm             | strong      | fort, forta, forts, fortes | fuerte, fuerte, fuertes, fuertes | puternic, puternică, puternici, puternice | stark
ser, swift                    | fast        | ràpid, ràpida, ràpids, ràpides | rápido, rápida, rápidos, rápidas | rapid, rapidă, rapizi, rapide | schnell
ser, goods, house             | expensive   | car, cara, cars, cares | caro, cara, caros, caras | scump, scumpă, scumpi, scumpe | teur, teuer
ser, goods                    | cheap       | barat, barata, barats, barates | barato, barata, baratos, baratas | ieftin, ieftină, ieftini, ieftine | billig
ser, thing, tree, song, story | beautiful   | bonic, bonica, bonics, boniques | bonito, bonita, bonitos, bonitas | frumos, frumoasă, frumoși, frumoase | schön
ser, load                     | heavy       | pesat, pesada, pesats, pesades | pesado, pesada, pesados, pesadas | greu, grea, grei, grele | schwer
ser, text, song               | long        | llarg, llarga, llargs, llargues | largo, larga, largos, largas | lung, lungă, lungi, lungi | lang
ser, text, song               | short       | curt, curta, curts, curtes | corto, corta, cortos, cortas | scurt, scurtă, scurți, scurte | kurz
ser, story, letter, song      | sad         | trist, trista, tristos, tristes | triste, triste, tristes, tristes | trist, tristă, triști, triste | traurig
ser, coloured                 | red         | vermell, vermella, vermells, vermelles | rojo, roja, rojos, rojas | roșu, roșie, roșii, roșii | rot
ser, coloured                 | blue        | blau, blava, blaus, blaves | azul, azul, azules, azules | albastru, albastră, albaștri, albastre | blau
ser, coloured                 | yellow      | groc, groga, grocs, grogues | amarillo, amarilla, amarillos, amarillas | galben, galbenă, galbeni, galbene | gelb
ser, coloured                 | green       | verd, verda, verds, verdes | verde, verde, verdes, verdes | verde, verde, verzi, verzi | grün
ser, coloured, animal         | white       | blanc, blanca, blancs, blanques | blanco, blanca, blancos, blancas | alb, albă, albi, albe | weiß
ser, coloured, animal         | black       | negre, negra, negres, negres | negro, negra, negros, negras | negru, neagră, negri, negre | schwarz
estar, washed, lid            | dirty       | brut, bruta, bruts, brutes | sucio, sucia, sucios, sucias | murdar, murdară, murdari, murdare | schmutzig
estar, washed, lid            | clean       | net, neta, nets, netes | limpio, limpia, limpios, limpias | curat, curată, curați, curate | sauber
estar, cold                   | cold        | fred, freda, freds, fredes | frío, fría, fríos, frías | rece, rece, reci, reci | kalt
estar, hot                    | hot         | calent, calenta, calents, calentes | caliente, caliente, calientes, calientes | fierbinte, fierbinte, fierbinți, fierbinți | heiß
estar, fresh                  | fresh       | fresc, fresca, frescos, fresques | fresco, fresca, frescos, frescas | proaspăt, proaspătă, proaspeți, proaspete | frisch
state, person, animal         | tired       | cansat, cansada, cansats, cansades | cansado, cansada, cansados, cansadas | obosit, obosită, obosiți, obosite | müde
state, person                 | happy       | content, contenta, contents, contentes | contento, contenta, contentos, contentas | fericit, fericită, fericiți, fericite | glücklich
state, person                 | sad         | trist, trista, tristos, tristes | triste, triste, tristes, tristes | trist, tristă, triști, triste | traurig
state, person, animal         | sick        | malalt, malalta, malalts, malaltes | enfermo, enferma, enfermos, enfermas | bolnav, bolnavă, bolnavi, bolnave | krank
state, lid                    | open        | obert, oberta, oberts, obertes | abierto, abierta, abiertos, abiertas | deschis, deschisă, deschiși, deschise | offen
state, lid                    | closed      | tancat, tancada, tancats, tancades | cerrado, cerrada, cerrados, cerradas | închis, închisă, închiși, închise | geschlossen
state, vessel                 | empty       | buit, buida, buits, buides | vacío, vacía, vacíos, vacías | gol, goală, goi, goale | leer
state, vessel                 | full        | ple, plena, plens, plenes | lleno, llena, llenos, llenas | plin, plină, plini, pline | voll
"""  # noqa: E501


def _read_adjective(columns: list[tuple[str, ...]]) -> Adjective:
    (use, *tags), (en,), ca, es, ro, de = columns
    return Adjective("ser" if use == "ser" else "estar", use != "state", frozenset(tags), en, ca, es, ro, de)


NOUNS: tuple[Noun, ...] = tuple(Noun(frozenset(tags), *forms) for tags, *forms in read_table(NOUN_TABLE))
ADJECTIVES: tuple[Adjective, ...] = tuple(_read_adjective(columns) for columns in read_table(ADJECTIVE_TABLE))
