"""Numbers, sizes and moments as people read them."""

import decimal
import math
import time

from dashboard.wording.names import NOT_MEASURED


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
    """A share in percent, with enough digits that a small one is not shown as zero; halves go up, as in the browser."""
    if not whole:
        return NOT_MEASURED
    percent = 100 * part / whole
    context = decimal.Context(prec=2 if part and percent < 0.01 else 3, rounding=decimal.ROUND_HALF_UP)
    rounded = float(context.create_decimal_from_float(percent))
    if part < whole and rounded >= 100:
        return "just under 100 %"
    return f"{rounded:g} %"


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
    """A moment (unix seconds) in this computer's local time, with its zone: who reads it may be elsewhere."""
    if moment is None:
        return NOT_MEASURED
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(moment)).rstrip()
