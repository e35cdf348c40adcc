"""TMX: what is text in it, which variants match, and what is refused."""

import tracemalloc
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kslottery_core.corpora import CorpusSpec, load_corpus
from kslottery_core.errors import CorpusError

HEAD = '<?xml version="1.0"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n<tmx version="1.4">\n<header srclang="en"/>\n<body>\n'
TAIL = "</body>\n</tmx>\n"


def write(folder, units, head=HEAD, tail=TAIL, encoding="utf-8"):
    path = folder / "memory.tmx"
    path.write_bytes((head + units + tail).encode(encoding))
    return path


def make_unit(**segments):
    variants = "".join(
        f'<tuv xml:lang="{code.replace("_", "-")}"><seg>{text}</seg></tuv>' for code, text in segments.items()
    )
    return f"<tu>{variants}</tu>\n"


def load(path, **options):
    corpus = load_corpus(CorpusSpec(str(path), **options))
    return [(pair.source, pair.target) for pair in corpus.pairs]


def test_regions_of_the_wanted_languages_are_read_and_others_passed_over(tmp_path):
    units = make_unit(en_US="The dog", es_ES="El perro", ca_ES="El gos") + make_unit(ca="El gat", en_GB="The cat")
    path = write(tmp_path, units)
    assert load(path) == [("The dog", "El gos"), ("The cat", "El gat")]
    assert load(path, source="en-US", target="es", max_rejected_share=0.5) == [("The dog", "El perro")]
    assert load_corpus(CorpusSpec(str(path))).lines == (6, 7)


def test_formatting_codes_are_no_text_and_line_breaks_are_spaces(tmp_path):
    codes = '<bpt i="1">&lt;b&gt;</bpt>Save<ept i="1">&lt;/b&gt;</ept>'
    first = f"Press {codes} <hi>now</hi>\n   &amp; <ph>%s<sub>x</sub></ph>go"
    path = write(tmp_path, make_unit(en=first, ca="Desa <![CDATA[<ja>]]>"))
    assert load(path) == [("Press Save now & go", "Desa <ja>")]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(*[st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=20)] * 2),
        min_size=1,
        max_size=6,
    )
)
def test_segments_are_what_the_standard_library_reads(tmp_path, pairs):
    path = write(tmp_path, "".join(make_unit(en=escape(one), ca=escape(other)) for one, other in pairs), head=HEAD)
    read = [tuple(seg.text for seg in unit.iter("seg")) for unit in ET.parse(path).getroot().iter("tu")]
    assert load(path) == [(one.strip(), other.strip()) for one, other in read] == pairs


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_other_encodings_that_xml_knows_are_read(tmp_path, encoding):
    head = HEAD.replace('version="1.0"', f'version="1.0" encoding="{encoding.removesuffix("-sig")}"')
    assert load(write(tmp_path, make_unit(en="é", ca="ñ"), head, encoding=encoding)) == [("é", "ñ")]


def test_a_unit_without_one_side_is_rejected_with_its_line(tmp_path):
    path = write(tmp_path, make_unit(en="a", ca="b") + make_unit(en="c") + "<tu><tuv><seg>x</seg></tuv></tu>\n")
    corpus = load_corpus(CorpusSpec(str(path), max_rejected_share=1.0))
    assert [(r.line, r.reason) for r in corpus.rejected] == [
        (7, "the field 'ca' is missing"),
        (8, "a variant of the unit names no language"),
    ]


def test_a_language_that_no_unit_has_is_told_with_those_there_are(tmp_path):
    path = write(tmp_path, make_unit(en_US="a", es_ES="b"))
    with pytest.raises(CorpusError, match="expected the language or column 'ca', found 'en-US', 'es-ES'"):
        load(path)


def test_an_entity_that_no_one_defines_rejects_its_unit(tmp_path):
    path = write(tmp_path, make_unit(en="a", ca="b") + make_unit(en="x&unknown;", ca="y"))
    corpus = load_corpus(CorpusSpec(str(path), max_rejected_share=0.5))
    assert [(r.line, r.reason) for r in corpus.rejected] == [(7, "the entity 'unknown' is not defined")]


BOMB = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    "declarations",
    [f'<!ENTITY l0 "lol">{BOMB}', '<!ENTITY x SYSTEM "file:///etc/passwd">', '<!ENTITY % p "q">'],
)
def test_entity_declarations_are_refused_before_anything_expands(tmp_path, declarations):
    head = f'<?xml version="1.0"?><!DOCTYPE tmx [{declarations}]><tmx><body>'
    path = write(tmp_path, make_unit(en="&l11;", ca="&x;"), head)
    tracemalloc.start()
    with pytest.raises(CorpusError, match="without entity declarations, found one of"):
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEAD + "<tu><tuv>" + TAIL, "found XML that breaks at line 6, column"),
        ("", "found XML that breaks at line 1, column 0 (no element found)"),
        ("<xliff></xliff>", "expected TMX (its outermost element is 'tmx'), found 'xliff'"),
        ("not xml", "found XML that breaks at line 1"),
        (HEAD + TAIL, "expected at least one pair of sentences, found none"),
        ('<?xml version="1.0" encoding="klingon"?><tmx/>', "cannot be read (unknown encoding: klingon)"),
        ('<?xml version="1.0" encoding="shift_jis"?><tmx/>', "cannot be read (multi-byte encodings"),
    ],
)
def test_a_malformed_file_is_one_clear_error(tmp_path, content, message):
    with pytest.raises(CorpusError) as caught:
        load(write(tmp_path, content, "", ""))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(CorpusError, match="found nothing there"):
        load(tmp_path / "none.tmx")


def test_a_large_memory_is_read_in_a_stream(tmp_path):
    path = write(tmp_path, make_unit(en="The dog sleeps.", ca="El gos dorm.", es="El perro duerme.") * 30_000)
    tracemalloc.start()
    assert len(load(path, limit=2)) == 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000 < path.stat().st_size
