"""Which weights of a model are adapted, said by their role: nobody types lists of modules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zoo.anatomy.adapters import ROLES as LEARNING
from zoo.anatomy.adapters import is_adaptable
from zoo.anatomy.config import ModelConfig, NoAnatomy
from zoo.errors import UnknownName, UsageError

ROLES = (*LEARNING, "vision")


def weights_by_role(config: ModelConfig, roles: str | Iterable[str] | None = None) -> list[str]:
    """The matrices of these roles (attention, mixer, mlp, experts, vision).

    None are all that read text, or those that read images where no others are there.

    Raises UnknownName for a role that there is not, UsageError for a model that has none of it.
    """
    asked: Sequence[str] = LEARNING if roles is None else [roles] if isinstance(roles, str) else [*roles]
    for role in asked:
        if role not in ROLES:
            raise UnknownName(f"no weights have the role {role!r}", role, ROLES)
    try:
        weights = config.anatomy().weights
    except NoAnatomy:
        what = f"which weights of a {config.family} are adapted is not known"
        raise UsageError(what, why="the family describes no anatomy") from None
    matrices = [w for w in weights if w.role in ROLES and is_adaptable(w)]
    if roles is None and all(w.role not in LEARNING for w in matrices):
        asked = ROLES
    there = [w for w in matrices if w.role in asked]
    found = [name for w in there for name in w.names()]
    lacking = [role for role in asked if roles is not None and all(w.role != role for w in there)]
    if lacking or not found:
        has = ", ".join(sorted({w.role for w in matrices})) or "none"
        raise UsageError(f"a {config.family} has no weights of the role {(lacking or asked)[0]}", why=f"it has: {has}")
    return found
