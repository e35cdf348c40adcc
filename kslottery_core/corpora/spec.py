"""Which parallel text a person asks for, and what of it counts."""

from dataclasses import dataclass

from kslottery_core.errors import CorpusError


@dataclass(frozen=True)
class CorpusSpec:
    """Which text: a path, the language of each side, its columns where they are named otherwise, and what is kept.

    `path` is a file, a folder (FLORES, or saved by the package `datasets`) or `hub:ORGANISATION/NAME`. `limit` keeps
    the first so many pairs that pass everything else; `split` and `subset` belong to FLORES and `datasets`.
    `max_rejected_share` (0 to 1) is the share of unusable lines above which the text is refused. The filters count
    characters of either side (`max_length_ratio`: of the longer to the shorter); None means no such filter.
    Raises CorpusError for values that make no sense.
    """

    path: str
    source: str = "en"
    target: str = "ca"
    limit: int | None = None
    source_column: str | None = None
    target_column: str | None = None
    split: str | None = None
    subset: str | None = None
    max_rejected_share: float = 0.1
    min_characters: int | None = None
    max_characters: int | None = None
    max_length_ratio: float | None = None
    drop_duplicates: bool = False

    def __post_init__(self) -> None:
        for name in ("path", "source", "target", "source_column", "target_column", "split", "subset"):
            value = getattr(self, name)
            if value is not None and not value.strip():
                raise CorpusError(f"{name}: expected a name, found an empty text; fill it in.")
        if self.source == self.target:
            raise CorpusError(
                f"source and target: expected two different columns, found {self.source!r} twice; change one."
            )
        if self.source_name == self.target_name:
            raise CorpusError(
                f"source_column and target_column: expected two different columns, found {self.source_name!r} twice; "
                "change one."
            )
        if self.limit is not None and self.limit < 1:
            raise CorpusError(
                f"limit: expected a whole number of at least 1, found {self.limit!r}; leave it out to take all pairs."
            )
        if not 0 <= self.max_rejected_share <= 1:
            raise CorpusError(f"max_rejected_share: expected a share from 0 to 1, found {self.max_rejected_share!r}.")
        for name in ("min_characters", "max_characters", "max_length_ratio"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise CorpusError(f"{name}: expected at least 1, found {value!r}; leave it out for no such filter.")
        if (self.min_characters or 0) > (self.max_characters or float("inf")):
            raise CorpusError(
                f"min_characters and max_characters: expected the first not above the second, found "
                f"{self.min_characters} and {self.max_characters}; change one."
            )

    @property
    def source_name(self) -> str:
        """The column or language that holds the source side."""
        return self.source_column or self.source

    @property
    def target_name(self) -> str:
        """The column or language that holds the target side."""
        return self.target_column or self.target
