"""Numbers and names as people read them: no raw code words reach the page."""

import math
import re
import time

NOT_MEASURED = "not measured"
NOT_DEFINED = "not defined"

CORRECTION_NAMES = {
    "none": "None",
    "bonferroni": "Bonferroni",
    "holm": "Holm",
    "bh": "Benjamini-Hochberg",
}

P_VALUE_METHOD_NAMES = {"exact": "Exact p-value", "asymptotic": "The paper's threshold τ(α)"}

UNIT_NAMES = {"row": "Output neurons (rows)", "column": "Input neurons (columns)"}

MEASURE_NAMES = {
    "share": "Share of winners",
    "largest": "Largest D",
    "median": "Median D",
    "shift": "Median L2 shift",
}

MAP_AXIS_NAMES = {
    "statistic": "D",
    "frequency": "Frequency in the text",
    "l2_shift": "L2 shift",
    "cosine": "Cosine",
    "mean_shift": "Mean shift",
    "rank": "Rank by D",
    "token_id": "Token id",
}

MAP_AXIS_TITLES = {
    "statistic": "D, the largest gap between the values before and after",
    "frequency": "How often the token occurs in the text",
    "l2_shift": "L2 shift, the distance between the row before and after",
    "cosine": "Cosine of the angle between the row before and after",
    "mean_shift": "Mean shift, the mean of the row after minus the mean before",
    "rank": "Rank by D, 1 for the largest",
    "token_id": "Token id, the place in the vocabulary",
}

MAP_ACROSS = ("frequency", "l2_shift", "cosine", "mean_shift", "rank", "token_id")
MAP_UP = ("statistic", "l2_shift", "cosine", "rank")
MAP_LOG = ("frequency", "l2_shift", "rank")
"""What the map of all tokens can show across and up, and which of it on a log scale across."""

KIND_NAMES = {
    "special": "Special",
    "byte": "Byte",
    "control": "Control",
    "word": "Word",
    "number": "Number",
    "punctuation": "Punctuation",
    "unused": "Unused",
    "unknown": "Unknown",
}

SCRIPT_NAMES = {
    "latin": "Latin",
    "greek": "Greek",
    "cyrillic": "Cyrillic",
    "armenian": "Armenian",
    "hebrew": "Hebrew",
    "arabic": "Arabic",
    "devanagari": "Devanagari",
    "bengali": "Bengali",
    "gurmukhi": "Gurmukhi",
    "gujarati": "Gujarati",
    "oriya": "Odia",
    "tamil": "Tamil",
    "telugu": "Telugu",
    "kannada": "Kannada",
    "malayalam": "Malayalam",
    "sinhala": "Sinhala",
    "thai": "Thai",
    "lao": "Lao",
    "tibetan": "Tibetan",
    "myanmar": "Burmese",
    "georgian": "Georgian",
    "ethiopic": "Ethiopic",
    "khmer": "Khmer",
    "mongolian": "Mongolian",
    "hangul": "Hangul (Korean)",
    "kana": "Kana (Japanese)",
    "han": "Han (Chinese characters)",
    "other": "Another",
    "several": "Several",
    "none": "No letters",
}

ORDER_NAMES = {
    "statistic": "D",
    "token_id": "Id",
    "token": "Token",
    "frequency": "Frequency",
    "p_value": "p",
    "l2_shift": "L2 shift",
    "cosine": "Cosine",
    "mean_shift": "Mean shift",
}
"""Columns that the table of tokens can be sorted by."""

METHOD_NAMES = {
    "base": "Base model, untouched",
    "full": "Full fine-tuning",
    "embedding": "Embedding tuning",
    "ticket": "Partial Tuning of a ticket",
    "transfer": "Partial Transfer of a ticket",
    "lora": "LoRA",
    "prefix": "Prefix tuning",
}

METHOD_EXPLANATIONS = {
    "base": "Nothing is trained: the model is tested as it is, for the others to be compared with.",
    "full": "Every weight is trained: the usual yardstick, and the dearest in memory and disk.",
    "embedding": "Only the input embedding is trained, all of its rows. Tickets are read from what it changes.",
    "ticket": "Only the rows of the chosen tokens are trained; everything else stays as it is, to the last bit.",
    "transfer": "The rows of the chosen tokens are copied from a tuned model; nothing is trained.",
    "lora": "Small matrices beside the linear layers are trained, through PEFT; the model itself stays as it is.",
    "prefix": "Trained positions stand before the text in every layer, through PEFT; the model itself stays as it is.",
}

TICKET_ROW_NAMES = {"input": "Input rows only, as in the paper", "input_and_head": "Input and output rows, as one"}

RULE_NAMES = {
    "alpha": "wins at α",
    "top_k": "largest D",
    "published": "published",
    "list": "list",
    "frequent": "most frequent",
    "random": "random",
    "matched": "random, as frequent",
    "prompt": "prompt",
    "union": "union",
    "intersection": "intersection",
}

DEVICE_NAMES = {"auto": "Automatic", "cpu": "CPU", "cuda": "GPU (CUDA)"}

STATE_NAMES = {
    "queued": "Waiting",
    "running": "Running",
    "finished": "Finished",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "died": "Died",
}

STUDY_STATE_NAMES = {
    "new": "Not started",
    "queued": "Waiting",
    "running": "Running",
    "finished": "Finished",
    "stopped": "Stopped",
    "failed": "Failed",
    "died": "Died",
    "broken": "Broken",
}

CELL_STATE_NAMES = {
    "waiting": "Waiting",
    "running": "Running",
    "finished": "Finished",
    "reused": "Taken over",
    "skipped": "Left out",
    "failed": "Failed",
    "stopped": "Stopped",
}

CERTIFIED_ROWS = {"alpha": "The present ticket", "list": "Tokens that I type", "file": "A ticket file"}

CERTIFIED_KINDS = {"predictions": "Next-token predictions", "outputs": "Whole greedy outputs"}

CERTIFIED_TEXTS = {"reference": "Reference translation", "output": "Greedy output"}

ROLE_NAMES = {"ticket": "in the ticket", "left_behind": "left behind", "unchanged": "unchanged"}
"""What becomes of a token's row in the partial model; the names of the certification's roles."""

CERTIFYING_PHASE_NAMES = {
    "load": "Loading the two models",
    "ks": "Comparing rows",
    "generate": "Writing the embedding-tuned model's outputs",
    "certify": "Holding predictions against each other",
}

PHASE_NAMES = {
    "load": "Loading the model",
    "tune": "Tuning",
    "generate": "Translating the test text",
    "score": "Scoring",
    "save": "Saving",
    "compare": "Comparing",
}


TIED_DEFAULT = (
    "As in the paper's setting, runs started here tune the input rows only; the output layer keeps its values. The "
    "rows of a ticket can be trained at both ends instead."
)

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


def shorten(text: str, length: int = 60) -> str:
    """At most `length` characters of a text, with an ellipsis where more was there."""
    return text if len(text) <= length else text[: length - 1] + "…"


def protect_cell(value: object) -> object:
    """A cell of a CSV file: text that a spreadsheet would run as a formula gets an apostrophe, all else stays."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def format_name(names: dict[str, str], name: str | None) -> str:
    """The readable form of a code word; an unknown one is at least freed of its underscores."""
    if name is None:
        return NOT_MEASURED
    return names.get(name, name.replace("_", " ").capitalize())


def format_number(value: float | None, digits: int = 3) -> str:
    """A number with `digits` significant digits, or "not measured"."""
    if value is None or math.isnan(value):
        return NOT_MEASURED
    text = f"{value:.{digits}g}"
    return text.replace("e-0", "e-").replace("e+0", "e")


def format_level(level: float) -> str:
    """A significance level with all of its digits, so that typing it gives the same one."""
    return repr(float(level)).replace("e-0", "e-")


def format_count(value: int | None) -> str:
    """A whole number with thousands separated by commas."""
    return NOT_MEASURED if value is None else f"{value:,}"


def format_noun(count: int, singular: str, plural: str | None = None) -> str:
    """`3 tokens`, `1 token`."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def format_share(part: int, whole: int | None) -> str:
    """A share in percent, with enough digits that a small one is not shown as zero."""
    if not whole:
        return NOT_MEASURED
    percent = 100 * part / whole
    if part and percent < 0.01:
        return f"{percent:.2g} %"
    if part < whole and percent > 99.99:
        return "just under 100 %"
    return f"{percent:.3g} %"


def format_seconds(seconds: float | None) -> str:
    """A duration; under a second in milliseconds, over a minute in minutes and seconds."""
    if seconds is None:
        return NOT_MEASURED
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def format_bytes(size: int | None) -> str:
    """A size in decimal units."""
    if size is None:
        return NOT_MEASURED
    value = float(size)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}" if unit != "bytes" else f"{size:,} bytes"
        value /= 1000
    return f"{value:.3g} GB"


def format_moment(moment: float | None) -> str:
    """A moment (unix seconds) in this computer's local time."""
    if moment is None:
        return NOT_MEASURED
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def format_code(text: str) -> str:
    """Any text as inline code in Markdown: the fence is longer than every run of backticks inside."""
    line = " ".join(text.splitlines()) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.strip() and (line[0] in "` " or line[-1] in "` ") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def format_token(token: str) -> str:
    """A token's label as inline code in Markdown, whatever it holds."""
    return format_code(token)
