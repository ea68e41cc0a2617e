"""Two checkpoints' weights, tensor by tensor: which differ, by how much, and where."""

from zoo.difference.record import TensorChange, WeightDifference
from zoo.difference.streaming import diff

__all__ = ["TensorChange", "WeightDifference", "diff"]
