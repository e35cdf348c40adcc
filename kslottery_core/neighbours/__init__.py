"""Which rows of one embedding matrix point in nearly the direction of a token's row: pure numerics over any rows."""

from kslottery_core.neighbours.search import Neighbours, RowSource, compute_cosines, compute_neighbours

__all__ = ["Neighbours", "RowSource", "compute_cosines", "compute_neighbours"]
