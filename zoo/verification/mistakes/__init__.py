"""The mistakes that ports of language models make, each as a repair that would undo it."""

from zoo.verification.mistakes.catalogue import Case, Mistake, Repair, mistakes, others, repairs

__all__ = ["Case", "Mistake", "Repair", "mistakes", "others", "repairs"]
