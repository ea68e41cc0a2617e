"""A weight has the role of the block that it is in: counts, freezing and adapters go by it."""

from __future__ import annotations

from zoo.registry import installed

ROLES = {"attn": {"attention", "position", "mixer", "norm"}, "mlp": {"mlp", "experts", "router", "norm"}}


def test_every_weight_of_a_block_has_its_role() -> None:
    wrong = []
    for family in installed().families:
        for weight in installed()[family].config_class.tiny().anatomy().weights:
            path = weight.name.split(".")
            block = next((ROLES[part] for part in path if part in ROLES), None)
            is_norm = any(part.endswith("_norm") for part in path)
            fitting = {"norm"} if is_norm else block
            if fitting and weight.role not in {*fitting, "vision"} and "indexer" not in path:  # chooses, like a router
                wrong.append((family, weight.name, weight.role))
    assert wrong == []
