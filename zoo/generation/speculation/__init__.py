"""Tokens that need no pass of their own: cheap guesses, several of which a model judges in one pass."""

from __future__ import annotations

from zoo.generation.speculation.drafts import DraftModel, PromptLookup
from zoo.generation.speculation.guess import Guess
from zoo.generation.speculation.modules import ModulesDraft
from zoo.generation.speculation.report import DraftReport

__all__ = ["DraftModel", "DraftReport", "Guess", "ModulesDraft", "PromptLookup"]
