"""A run in several stages: each has settings and an optimizer of its own, and begins with the weights before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.errors import UsageError, clean, did_you_mean
from zoo.training.settings import SECTIONS, Recipe

WHOLE = ("freeze", "seed")  # what a stage replaces as a whole; of a section it replaces the keys that it names


def staged_recipes(recipe: Recipe) -> list[Recipe]:
    """The recipe of each stage: the run's own, with what the stage says in place of it. One without stages is one.

    Raises UsageError for a stage that says what none can.
    """
    if not recipe.stages:
        return [recipe]
    plain = {**recipe.to_dict(), "stages": None}
    found = [Recipe.of(_merged(plain, stage, number)) for number, stage in enumerate(recipe.stages, 1)]
    if len({stage.objective["name"] == "reward" for stage in found}) > 1:
        why = "its folder holds a model of reward, which has no head over the vocabulary"
        raise UsageError("objective=reward in some stages and not in others", why=why, hint="make two runs of them")
    return found


def _merged(plain: dict[str, Any], stage: Mapping[str, Any], number: int) -> dict[str, Any]:
    known = (*SECTIONS, "objective", *WHOLE)
    for name in stage:
        if name == "lora":
            raise UsageError(f"stage {number}: lora is said of the whole run", hint="type lora=16 beside stages=")
        if name not in known:
            raise UsageError(f"stage {number}: no key {clean(name)!r}", why=did_you_mean(str(name), known))
    merged = dict(plain)
    for name, value in stage.items():
        merged[name] = {**plain[name], **value} if isinstance(value, Mapping) else value
    return merged


def steps_before(recipes: Sequence[Recipe], stage: int) -> int:
    """Steps of all stages before this one, which are counted from 0."""
    return sum(recipe.train.steps for recipe in recipes[:stage])
