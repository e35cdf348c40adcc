"""Prompt templates: what a model reads before it translates."""

import hashlib
import string

from kslottery_core.corpora.languages import split_language_code
from kslottery_core.errors import CorpusError

DEFAULT_PROMPT = (
    "Translate the following sentence from {source_language} to {target_language}.\n"
    "{source_language}: {source}\n"
    "{target_language}:"
)
PLACEHOLDERS = ("source", "source_language", "target_language")

LANGUAGE_NAMES: dict[str, str] = {
    "af": "Afrikaans",
    "am": "Amharic",
    "ar": "Arabic",
    "ast": "Asturian",
    "az": "Azerbaijani",
    "be": "Belarusian",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "bs": "Bosnian",
    "ca": "Catalan",
    "ceb": "Cebuano",
    "cs": "Czech",
    "cy": "Welsh",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "eo": "Esperanto",
    "es": "Spanish",
    "et": "Estonian",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "ga": "Irish",
    "gl": "Galician",
    "gu": "Gujarati",
    "ha": "Hausa",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "hy": "Armenian",
    "id": "Indonesian",
    "ig": "Igbo",
    "is": "Icelandic",
    "it": "Italian",
    "ja": "Japanese",
    "jv": "Javanese",
    "ka": "Georgian",
    "kk": "Kazakh",
    "km": "Khmer",
    "kn": "Kannada",
    "ko": "Korean",
    "ky": "Kyrgyz",
    "la": "Latin",
    "lb": "Luxembourgish",
    "ln": "Lingala",
    "lo": "Lao",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mi": "Maori",
    "mk": "Macedonian",
    "ml": "Malayalam",
    "mn": "Mongolian",
    "mr": "Marathi",
    "ms": "Malay",
    "mt": "Maltese",
    "my": "Burmese",
    "nb": "Norwegian Bokmål",
    "ne": "Nepali",
    "nl": "Dutch",
    "nn": "Norwegian Nynorsk",
    "no": "Norwegian",
    "oc": "Occitan",
    "pa": "Punjabi",
    "pl": "Polish",
    "ps": "Pashto",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sd": "Sindhi",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sn": "Shona",
    "so": "Somali",
    "sq": "Albanian",
    "sr": "Serbian",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "tg": "Tajik",
    "th": "Thai",
    "tl": "Tagalog",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "uz": "Uzbek",
    "vi": "Vietnamese",
    "wo": "Wolof",
    "xh": "Xhosa",
    "yo": "Yoruba",
    "zh": "Chinese",
    "zu": "Zulu",
}


def name_language(code: str) -> str:
    """The English name of a language code (ca, cat, ca-ES, cat_Latn); an unknown code is returned as it is."""
    return LANGUAGE_NAMES.get(code) or LANGUAGE_NAMES.get(split_language_code(code)[0], code)


def check_prompt(template: str) -> None:
    """Check that `template` can be filled; a brace that is meant as text is doubled.

    Raises CorpusError without {source}, with an unknown placeholder, or with a brace that has no partner.
    """
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as problem:
        raise CorpusError(
            f"prompt template: expected braces in pairs around a placeholder, found a brace alone or a broken "
            f"placeholder ({problem}); write {{{{ or }}}} for a brace that is meant as text."
        ) from None
    used = set()
    for _, name, form, conversion in parts:
        if name is None:
            continue
        # "{source!r}" or "{source:>9}" would change the sentence, "{source.x}" would reach into the object.
        written = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
        if written not in PLACEHOLDERS:
            raise CorpusError(
                f"prompt template: expected only the placeholders {known}, found {{{written}}}; "
                "take it out, or double its braces if they are meant as text."
            )
        used.add(name)
    if "source" not in used:
        raise CorpusError(
            "prompt template: expected the placeholder {source} where the sentence goes, found none; add {source}."
        )


def fill_prompt(template: str, *, source: str, source_language: str, target_language: str) -> str:
    """The prompt for one sentence; languages may be codes ("ca") or names ("Catalan").

    Raises CorpusError as `check_prompt` does.
    """
    check_prompt(template)
    return template.format(
        source=source,
        source_language=name_language(source_language),
        target_language=name_language(target_language),
    )


def hash_prompt(template: str) -> str:
    """The first 12 hexadecimal digits of the template's SHA-256, for signatures."""
    return hashlib.sha256(template.encode("utf-8", errors="surrogatepass")).hexdigest()[:12]
