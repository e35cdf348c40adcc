"""The options that say which text a run reads and what of it, called as in `corpus`, and the texts that they make."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kslottery_core.errors import CorpusError

if TYPE_CHECKING:
    from kslottery_core.corpora import CorpusSpec

FORMATS = ".jsonl, .json, .csv, .tsv, .tmx, one of two aligned files, a FLORES folder or hub:ORGANISATION/NAME"

TrainOption = Annotated[str | None, typer.Option(help=f"Training pairs: {FORMATS}.")]
TestOption = Annotated[
    str | None, typer.Option(help="Test pairs, in the same formats; scored when the tuning is done.")
]
SourceOption = Annotated[str, typer.Option(help="Language or column of the source sentences.")]
TargetOption = Annotated[str, typer.Option(help="Language or column of the target sentences.")]
SourceColumnOption = Annotated[
    str | None, typer.Option(help="Column of the source sentences, where it is not called as the language.")
]
TargetColumnOption = Annotated[
    str | None, typer.Option(help="Column of the target sentences, where it is not called as the language.")
]
TestSourceColumnOption = Annotated[
    str | None, typer.Option(help="The same of the test text alone; default: --source-column.")
]
TestTargetColumnOption = Annotated[
    str | None, typer.Option(help="The same of the test text alone; default: --target-column.")
]
SplitOption = Annotated[str | None, typer.Option(help="Split of FLORES or a data set, of the training text.")]
SubsetOption = Annotated[str | None, typer.Option(help="Subset of a data set on the hub, of the training text.")]
TestSplitOption = Annotated[str | None, typer.Option(help="Split of FLORES or a data set, of the test text.")]
TestSubsetOption = Annotated[str | None, typer.Option(help="Subset of a data set on the hub, of the test text.")]
RejectedShareOption = Annotated[float, typer.Option(help="Refuse a text with more unusable lines; 0.1 is a tenth.")]
ShortestOption = Annotated[int | None, typer.Option(help="Leave out pairs with a shorter side.")]
LongestOption = Annotated[int | None, typer.Option(help="Leave out pairs with a longer side.")]
RatioOption = Annotated[
    float | None, typer.Option(help="Leave out pairs with one side more than N times as long as the other.")
]
DuplicatesOption = Annotated[bool, typer.Option("--drop-duplicates", help="Leave out pairs seen before.")]
LimitOption = Annotated[int | None, typer.Option(help="Use only the first N training pairs.")]
TestLimitOption = Annotated[int | None, typer.Option(help="Use only the first N test pairs.")]


def build_corpus(
    part: str, path: str | None, both: Mapping[str, Any], own: Mapping[str, Any], names: Mapping[str, str] | None = None
) -> "CorpusSpec | None":
    """The text of `part` ("train" or "test"), None without a path.

    `both` and `own` are fields of CorpusSpec: of every text of the run, and of this one where they are given (neither
    None nor False). `names` are the options of `own` that are not called as their field. Raises CorpusError for a field
    of a text that is not named, and for values that make no sense.
    """
    from kslottery_core.corpora import CorpusSpec

    given = {field: value for field, value in own.items() if value is not None and value is not False}
    if path is not None:
        return CorpusSpec(path, **{**both, **given})
    if given:
        option = (names or {}).get(next(iter(given)), next(iter(given))).replace("_", "-")
        words = "training" if part == "train" else "test"
        raise CorpusError(
            f"--{option}: it concerns the {words} text, and none is named; give --{part} PATH or leave it out."
        )
    return None
