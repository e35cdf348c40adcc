"""Which rows a cell trains or copies: every rule of an arm becomes a ticket."""

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kslottery_core.checkpoints import label_tokens, load_tokenizer, open_embedding
from kslottery_core.corpora import Corpus, hash_prompt, list_prompt_tokens, load_corpus
from kslottery_core.errors import TicketError
from kslottery_core.runs import RunRecord
from kslottery_core.studies.cells import StudyCell
from kslottery_core.studies.pair_results import open_pair_result
from kslottery_core.studies.spec import RowRule, StudySpec
from kslottery_core.tickets import (
    Ticket,
    check_ticket_fits,
    create_prompt_ticket,
    describe_empty_ticket,
    select_frequent_ticket,
    select_matched_ticket,
    select_random_ticket,
    select_ticket,
    select_top_k_ticket,
)
from kslottery_core.tuning import TokenCounting

if TYPE_CHECKING:
    import numpy as np

    from kslottery_core.checkpoints import EmbeddingMatrix


class NoRowsError(TicketError):
    """A rule chooses no row at all: an answer about the model, not a failure."""


class RowChooser:
    """Chooses rows for the cells of one study; remembers the token counts of its texts. `folder` is the study's."""

    def __init__(self, study: StudySpec, folder: Path) -> None:
        self._study, self._folder = study, folder
        self._corpora: dict[int, Corpus] = {}
        self._counts: dict[tuple[int, str], np.ndarray] = {}

    def choose(self, cell: StudyCell, embedding_run: RunRecord | None) -> Ticket:
        """The ticket of a cell whose arm has rows; `embedding_run` is the cell's embedding tuning where it needs one.

        Raises NoRowsError with a sentence when the rule chooses nothing, TicketError for a given ticket that does not
        fit the model, and `KSLotteryError` for files.
        """
        rule = self._study.arms[cell.arm].rows
        assert rule is not None  # the spec refuses rows without a rule
        if rule.ticket is not None:
            check_ticket_fits(rule.ticket, *self._matrix.shape)
        ticket = self._apply(rule, cell, embedding_run)
        return dataclasses.replace(ticket, width=self._matrix.shape[1])

    def _apply(self, rule: RowRule, cell: StudyCell, embedding_run: RunRecord | None) -> Ticket:
        size = self._matrix.shape[0]
        if rule.rule == "ticket" and rule.ticket is not None:
            return rule.ticket
        if rule.rule == "ks":
            return self._select_ks(rule, embedding_run)
        if rule.rule == "prompt":
            return self._select_prompt(cell.text)
        copied = None
        if rule.copies_ks:
            first = self._study.first_ks_rule
            assert first is not None
            copied = self._select_ks(first, embedding_run)
        seed = cell.seed or 0
        if rule.rule == "matched":
            like = rule.ticket or copied
            assert like is not None
            counts, name = self._count(cell.text, rule.counted)
            return select_matched_ticket(like, counts, seed, tokens=self._labels, text=name)
        count = rule.count if copied is None else copied.size
        assert count is not None
        if rule.rule == "random":
            return select_random_ticket(size, count, seed, tokens=self._labels)
        counts, name = self._count(cell.text, rule.counted)
        return select_frequent_ticket(counts, count, tokens=self._labels, text=name)

    def _select_ks(self, rule: RowRule, embedding_run: RunRecord | None) -> Ticket:
        assert embedding_run is not None
        result = open_pair_result(self._folder, self._study.model, self._study.revision, embedding_run)
        if rule.top_k is not None:
            ticket = select_top_k_ticket(result, rule.top_k, tokens=self._labels)
            empty = "No row differs between before and after, so there is nothing to take."
        else:
            assert rule.significance_level is not None
            ticket = select_ticket(result, rule.significance_level, correction=rule.correction, tokens=self._labels)
            empty = "" if ticket.size else describe_empty_ticket(result, rule.significance_level, rule.correction)
        if not ticket.size:
            raise NoRowsError(empty)
        return ticket

    def _select_prompt(self, text: int) -> Ticket:
        corpus, spec = self._load(text), self._study.texts[text].train
        template = corpus.prompt or self._study.prompt  # instruction data brings its own
        ids = list_prompt_tokens(self._tokenizer, template, source_language=spec.source, target_language=spec.target)
        size = self._matrix.shape[0]
        return create_prompt_ticket(ids, size, prompt_hash=hash_prompt(template), tokens=self._labels)

    def _count(self, text: int, counted: str) -> "tuple[np.ndarray, str]":
        """Occurrences of every token in a training text, (V,) int64, and what was counted, for the ticket's note."""
        corpus, spec = self._load(text), self._study.texts[text].train
        counting = TokenCounting(counted, self._study.prompt, self._study.tuning.max_length)
        if (text, counted) not in self._counts:
            self._counts[text, counted] = counting.count(self._tokenizer, corpus, spec, self._matrix.shape[0])
        return self._counts[text, counted], counting.describe(Path(spec.path).name)

    def _load(self, text: int) -> Corpus:
        if text not in self._corpora:
            self._corpora[text] = load_corpus(self._study.texts[text].train)
        return self._corpora[text]

    @cached_property
    def _matrix(self) -> "EmbeddingMatrix":
        return open_embedding(self._study.model, revision=self._study.revision)

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        return label_tokens(self._matrix.token_strings, self._matrix.special_token_ids, self._matrix.shape[0])[0]

    @cached_property
    def _tokenizer(self) -> object:
        return load_tokenizer(self._study.model, revision=self._study.revision)
