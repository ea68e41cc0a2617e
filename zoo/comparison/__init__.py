"""What differs between models, in words and by arithmetic. Needs no torch."""

from zoo.comparison.record import Comparison, Findings, compare
from zoo.comparison.subject import ComparedModel
from zoo.report.table import Row

__all__ = ["ComparedModel", "Comparison", "Findings", "Row", "compare"]
