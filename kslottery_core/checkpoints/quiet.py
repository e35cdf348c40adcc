"""Third-party loaders warn and draw bars about things that a person cannot act on here; they are kept silent."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def keep_transformers_quiet() -> Iterator[None]:
    """Silence Python warnings, transformers' log lines below errors, and its progress bars; restore them after."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging

        verbosity = logging.get_verbosity()
        bars = logging.is_progress_bar_enabled()
        # Even errors are silenced: every failure reaches the person as one sentence of ours.
        logging.set_verbosity(logging.CRITICAL)
        if bars:
            logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
