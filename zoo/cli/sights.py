"""The pictures and videos that a command is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from zoo.checkpoint.inspection import Ledger

F = TypeVar("F", bound=Callable[..., Any])


def image_option(function: F) -> F:
    """Pictures, in the order in which the prompt speaks of them."""
    text = "A picture for the prompt; may be given more than once."
    return click.option("--image", "images", multiple=True, type=click.Path(), metavar="FILE", help=text)(function)


def video_option(function: F) -> F:
    """Videos, in the order in which the prompt speaks of them."""
    text = "A video for the prompt; may be given more than once."
    return click.option("--video", "videos", multiple=True, type=click.Path(), metavar="FILE", help=text)(function)


def read_pictures(ledger: Ledger, images: tuple[str, ...]) -> list[Any]:
    """The pictures in these files. Raises UsageError for a model that reads none."""
    if not images:
        return []
    from zoo.vision import read_image
    from zoo.vision.illustration import seeing

    seeing(ledger.family)
    return [read_image(image) for image in images]


def checked_videos(ledger: Ledger, videos: tuple[str, ...]) -> list[str]:
    """The files, of a model that reads videos. Raises UsageError for one that reads none."""
    if videos:
        from zoo.vision.illustration import watching

        watching(ledger.family)
    return [*videos]
