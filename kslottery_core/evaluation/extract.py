"""Which part of an output is taken as the translation. Scores under two rules tell learning to stop from learning to
translate."""

from collections.abc import Callable


def extract_whole_output(text: str) -> str:
    """Everything the model wrote, on one line: what a reader who cannot cut would get."""
    return " ".join(text.split())


def extract_first_line(text: str) -> str:
    """The first line that is not blank, or nothing."""
    return next((" ".join(line.split()) for line in text.splitlines() if line.strip()), "")


EXTRACTIONS: dict[str, Callable[[str], str]] = {
    "whole output": extract_whole_output,
    "first line": extract_first_line,
}
