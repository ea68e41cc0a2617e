"""What differs between models, in words and by arithmetic. Needs no torch."""

from zoo.comparison.record import Comparison, Measurements, compare
from zoo.comparison.rows import Row
from zoo.comparison.subject import Subject

__all__ = ["Comparison", "Measurements", "Row", "Subject", "compare"]
