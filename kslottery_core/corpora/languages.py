"""Language codes of different standards, matched: en, eng, en-US, en_GB, eng_Latn."""

import re
from collections.abc import Iterable
from functools import lru_cache

# ISO 639-3 codes, and the codes that FLORES-101 and FLORES-200 use for the same language, of each ISO 639-1 code.
_LONG_CODES: dict[str, str] = {
    "af": "afr", "am": "amh", "ar": "ara arb", "ast": "ast", "az": "aze azj", "be": "bel", "bg": "bul", "bn": "ben",
    "bs": "bos", "ca": "cat", "ceb": "ceb", "cs": "ces", "cy": "cym", "da": "dan", "de": "deu", "el": "ell",
    "en": "eng", "eo": "epo", "es": "spa", "et": "est", "eu": "eus", "fa": "fas pes", "fi": "fin", "fr": "fra",
    "ga": "gle", "gl": "glg", "gu": "guj", "ha": "hau", "he": "heb", "hi": "hin", "hr": "hrv", "hu": "hun",
    "hy": "hye", "id": "ind", "ig": "ibo", "is": "isl", "it": "ita", "ja": "jpn", "jv": "jav", "ka": "kat",
    "kk": "kaz", "km": "khm", "kn": "kan", "ko": "kor", "ky": "kir", "la": "lat", "lb": "ltz", "ln": "lin",
    "lo": "lao", "lt": "lit", "lv": "lav lvs", "mi": "mri", "mk": "mkd", "ml": "mal", "mn": "mon khk", "mr": "mar",
    "ms": "msa zsm", "mt": "mlt", "my": "mya", "nb": "nob", "ne": "npi nep", "nl": "nld", "nn": "nno", "no": "nor",
    "oc": "oci", "pa": "pan", "pl": "pol", "ps": "pus pbt", "pt": "por", "ro": "ron", "ru": "rus", "sd": "snd",
    "sk": "slk", "sl": "slv", "sn": "sna", "so": "som", "sq": "sqi als", "sr": "srp", "sv": "swe", "sw": "swa swh",
    "ta": "tam", "te": "tel", "tg": "tgk", "th": "tha", "tl": "tgl", "tr": "tur", "uk": "ukr", "ur": "urd",
    "uz": "uzb uzn", "vi": "vie", "wo": "wol", "xh": "xho", "yo": "yor", "zh": "zho", "zu": "zul",
}  # fmt: skip
_SHORT_CODES = {long: short for short, codes in _LONG_CODES.items() for long in codes.split()}
_PARTS = re.compile(r"[-_]")


@lru_cache(maxsize=4096)
def split_language_code(code: str) -> tuple[str, tuple[str, ...]]:
    """The language as its shortest known code, and what follows it (region, script), in lower case.

    "en-US" is ("en", ("us",)), "eng_Latn" is ("en", ("latn",)); an unknown language keeps its own code.
    """
    language, *rest = _PARTS.split(code.strip().lower())
    return _SHORT_CODES.get(language, language), tuple(rest)


def match_language(wanted: str, found: Iterable[str]) -> tuple[str, ...]:
    """Which of the codes that were found mean the language that is wanted, in the order found.

    A code that is written exactly so is the only match. Otherwise a language without region or script matches every
    region and script of it ("en" matches "en-US" and "eng_Latn"); with one it matches only the same.
    """
    codes = tuple(found)
    if wanted in codes:
        return (wanted,)
    language, rest = split_language_code(wanted)
    split = {code: split_language_code(code) for code in codes}
    return tuple(code for code in codes if split[code][0] == language and (not rest or split[code][1] == rest))
