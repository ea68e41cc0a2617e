"""What a run learns, by name: each makes rows of the data, batches of the rows, and a loss of a batch."""

from zoo.training.objectives.batch import Microbatch, Objective
from zoo.training.objectives.choice import OBJECTIVES, Ground, make_objective

__all__ = ["OBJECTIVES", "Ground", "Microbatch", "Objective", "make_objective"]
