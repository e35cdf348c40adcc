"""A ticket, two checkpoints and a text become certificates, and the check of them.

Reading order: `levels` (what "certified" means), `comparing` (why one pass a ticket is enough), `certify`, `verify`.
"""

from kslottery_core.certification.certificate import (
    LEFT_BEHIND,
    OUTPUT,
    REFERENCE,
    ROLES,
    TICKET,
    UNCHANGED,
    Certification,
    LevelCounts,
    PredictedSequence,
    SentenceRecord,
    SideFingerprints,
    Tally,
    TicketPoint,
    TokenRecord,
    load_certification,
    save_certification,
)
from kslottery_core.certification.certify import certify
from kslottery_core.certification.findings import (
    LargerTickets,
    LeftBehindToken,
    LostPrediction,
    TokenProbability,
    Violation,
)
from kslottery_core.certification.keeping import find_certificate_path
from kslottery_core.certification.levels import (
    EVERY_LARGER_TICKET,
    EXACT,
    KS_ASSUMPTION,
    KS_BOUND,
    LEVELS,
    NOT_THE_PAPER,
    Evidence,
    Level,
    decide_levels,
    list_levels,
)
from kslottery_core.certification.task import SIGNIFICANCE_LEVELS, CertificationTask
from kslottery_core.certification.verify import Verification, verify_certification

__all__ = [
    "EVERY_LARGER_TICKET",
    "EXACT",
    "KS_ASSUMPTION",
    "KS_BOUND",
    "LEFT_BEHIND",
    "LEVELS",
    "NOT_THE_PAPER",
    "OUTPUT",
    "REFERENCE",
    "ROLES",
    "SIGNIFICANCE_LEVELS",
    "TICKET",
    "UNCHANGED",
    "Certification",
    "CertificationTask",
    "Evidence",
    "LargerTickets",
    "LeftBehindToken",
    "Level",
    "LevelCounts",
    "LostPrediction",
    "PredictedSequence",
    "SentenceRecord",
    "SideFingerprints",
    "Tally",
    "TicketPoint",
    "TokenProbability",
    "TokenRecord",
    "Verification",
    "Violation",
    "certify",
    "decide_levels",
    "find_certificate_path",
    "list_levels",
    "load_certification",
    "save_certification",
    "verify_certification",
]
