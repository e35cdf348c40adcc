"""What things are called on the screen: no raw code words reach the page."""

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
    "l2_shift": "L2 shift",
    "cosine": "Cosine",
    "mean_shift": "Mean shift",
    "rank": "Rank by D",
    "token_id": "Token id",
}

MAP_AXIS_TITLES = {
    "statistic": "D, the largest gap between the values before and after",
    "l2_shift": "L2 shift, the distance between the row before and after",
    "cosine": "Cosine of the angle between the row before and after",
    "mean_shift": "Mean shift, the mean of the row after minus the mean before",
    "rank": "Rank by D, 1 for the largest",
    "token_id": "Token id, the place in the vocabulary",
}

FREQUENCY_NAMES = {"training": "Frequency in training", "text": "Frequency in the text"}

FREQUENCY_TITLES = {
    "training": "How often training reads the token, in prompts, sentences and as a special token",
    "text": "How often the token occurs in the text alone",
}


def name_map_axis(axis: str, counted: str) -> str:
    """An axis of the token map; `counted` is the key of what a frequency counts."""
    return FREQUENCY_NAMES[counted] if axis == "frequency" else MAP_AXIS_NAMES[axis]


def title_map_axis(axis: str, counted: str) -> str:
    """What `name_map_axis` names, in words that explain it."""
    return FREQUENCY_TITLES[counted] if axis == "frequency" else MAP_AXIS_TITLES[axis]


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
"""What is known of a token, as the columns of its table are called; it can be sorted by each."""

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

DEVICE_NAMES = {"auto": "Automatic", "cpu": "CPU", "cuda": "GPU (CUDA)", "mps": "GPU (Apple)"}

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
    "reused": "Reused",
    "skipped": "Skipped",
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
    "certify": "Comparing predictions",
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


def format_name(names: dict[str, str], name: str | None) -> str:
    """The readable form of a code word; an unknown one is at least freed of its underscores."""
    if name is None:
        return NOT_MEASURED
    return names.get(name, name.replace("_", " ").capitalize())
