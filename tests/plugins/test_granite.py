"""What Granite's two kinds share."""

from __future__ import annotations

import pytest

from zoo.registry import installed


def test_a_kind_that_does_not_describe_its_mlp_is_a_mistake_and_not_a_family_without_anatomy() -> None:
    shared = installed()["granite"].config_class.__mro__[1]
    forgetful = type("Forgetful", (shared,), {})
    with pytest.raises(TypeError, match=r"abstract.*describe_mlp"):
        forgetful()
