"""Texts of others made safe: as Markdown or as inline code."""

import re

_MARKDOWN_SIGNS = re.compile(r"[\\`*_\[\]()#!<>$:~|&]")
# The page turns emoji names, icons, addresses and e-mails into more than text even where every sign is escaped; an
# invisible joiner (which takes no width and allows no line break) keeps each of them apart.
_JOINER = "\u2060"
_LATE_SIGNS = re.compile(r"(:(?=[\w+/-])|\bwww(?=\.)|@)", re.IGNORECASE)
_BLOCK_START = re.compile(r"^(?:(\d+)(?=\.(?:\s|$))|(?=[-+=]))")


def escape_markdown(text: str) -> str:
    """Text from a file, an address or a person, as Markdown that shows it on one line and does nothing else."""
    line = _LATE_SIGNS.sub(rf"\1{_JOINER}", " ".join(text.split()))
    escaped = _MARKDOWN_SIGNS.sub(r"\\\g<0>", line)
    return _BLOCK_START.sub(r"\1\\", escaped)


def format_formula(text: str) -> str:
    """A definition of the library in signs of mathematics: p_A and p_B, the two largest probabilities, by rank."""
    for written, shown in (("p_A", "p₁"), ("p_B", "p₂"), (" * ", " × "), (" - ", " − ")):
        text = text.replace(written, shown)
    return text


def shorten(text: str, length: int = 60) -> str:
    """At most `length` characters of a text, with an ellipsis where more was there."""
    return text if len(text) <= length else text[: length - 1] + "…"


def name_source(source: str) -> str:
    """The last two parts of a path: enough to know it by. A hub id stays as it is."""
    parts = [part for part in source.replace("\\", "/").split("/") if part]
    return source if len(parts) <= 2 and not source.startswith("/") else "/".join(parts[-2:])


def format_code(text: str) -> str:
    """Any text as inline code in Markdown: the fence is longer than every run of backticks inside."""
    line = " ".join(text.splitlines()) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.strip() and (line[0] in "` " or line[-1] in "` ") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def format_token(token: str) -> str:
    """A token's label as inline code in Markdown, whatever it holds."""
    return format_code(token)
