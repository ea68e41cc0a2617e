"""What of a ledger goes with a model that is pickled: all but code, which is found anew where it is read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any


class Carried:
    """A ledger's fields; its family goes by name, and what tables hold of functions follows from family and config."""

    def __getstate__(self) -> dict[str, Any]:
        known = {name: value for name, value in vars(self).items() if name != "table"}
        known["family"] = known["family"].name
        known["account"] = replace(known["account"], steps=[], witnesses=dict.fromkeys(known["account"].witnesses))
        return known

    def __setstate__(self, known: dict[str, Any]) -> None:
        from zoo.checkpoint.interpretation import table_for
        from zoo.registry import installed
        from zoo.weights.account import settle

        vars(self).update(known)
        family, checkpoint, account = installed()[known["family"]], known["checkpoint"], known["account"]
        table = table_for(family, known["dialect"], known["config"], checkpoint.tensors)
        settled = settle(table, known["shapes"], checkpoint.tensors, spare=checkpoint.spare)
        account.steps, held = settled.steps, settled.witnesses
        account.witnesses = {name: held[name] for name in account.witnesses}
        vars(self).update(family=family, table=table)
