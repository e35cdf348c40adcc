"""Errors that a person can act on.

Every message is one sentence or two for the person who ran the program: what was expected, what was found, in which
item, and what to do. The command line prints it and exits with status 2; the dashboard shows it in the page.
"""


class KSLotteryError(Exception):
    """Base of every error that this package raises on purpose."""


class CheckpointError(KSLotteryError):
    """A checkpoint cannot be opened, or two checkpoints cannot be compared."""


class CorpusError(KSLotteryError):
    """A parallel text or a prompt template cannot be used."""


class KSInputError(KSLotteryError):
    """Two matrices cannot be tested: shapes, values or the device are wrong."""


class KSDeviceError(KSInputError):
    """The device is not there or has no room; the matrices may be fine, and another device may take them."""


class TicketError(KSLotteryError):
    """A ticket cannot be selected, read or applied to this model."""


class TuningError(KSLotteryError):
    """A tuning run cannot start or cannot go on."""


class EvaluationError(KSLotteryError):
    """Outputs cannot be generated or scored."""


class CertificationError(KSLotteryError):
    """Two checkpoints, a ticket and a text cannot be certified, or a certificate cannot be read."""


class RunError(KSLotteryError):
    """A run's folder, record or process is not as it must be."""


class StudyError(KSLotteryError):
    """A study cannot be set up, started or read."""
