"""What models that continue no text are asked for: vectors of texts and pictures, and their classes."""

from zoo.embedding.classes import classify
from zoo.embedding.classified import Classes, Classified
from zoo.embedding.vectors import Vectors, embed

__all__ = ["Classes", "Classified", "Vectors", "classify", "embed"]
