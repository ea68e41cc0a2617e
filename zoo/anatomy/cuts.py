"""How blocks are cut over many devices, as data: the modules of zoo.nn and their descriptions read the same tables.

A block names its parts, each a module or a parameter below it. By rows: a rank has some of what a matrix gives. By
columns: it has some of what a matrix takes, and the results of all ranks are added up, then the bias. By experts: some
of the stacked matrices. By vocabulary: the rows of some tokens. Shared: whole on every rank, but used by a rank's share
alone, so that gradients are added up. Parted: whole on every rank, of which each adds an equal part to what is added
up. What is in no table is whole on every rank, and every rank computes all of it.
Needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

ROWS, COLUMNS, EXPERTS, VOCABULARY, SHARED, PARTED = "rows columns experts vocabulary shared parted".split()


@dataclass(frozen=True)
class Cut:
    """One part of a block, how it is cut, and the block's number of which a rank has a share (None: single rows)."""

    part: str
    by: str  # rows | columns | experts | vocabulary | shared | parted
    of: str | None = None
    can_repeat: bool = False  # whole on every rank where there are more ranks than units, each rank using one


@dataclass(frozen=True)
class Share:
    """How one weight is cut: along which dimension (None: along none), and into how many units that stay together."""

    by: str
    dim: int | None
    units: int | None = None  # None: as many as the dimension is long
    can_repeat: bool = False


def dimension(by: str, ndim: int) -> int | None:
    """Along which of its dimensions a weight is cut; a bias of what is cut by columns is whole."""
    if by in (EXPERTS, VOCABULARY):
        return 0
    if by == ROWS:
        return max(ndim - 2, 0)
    return ndim - 1 if by == COLUMNS and ndim > 1 else None


def part_of(cut: Cut, name: str) -> bool:
    """Whether the weight `name`, below the block, belongs to the part."""
    return name in (cut.part, f"{cut.part}.weight", f"{cut.part}.bias")


def of_heads(kv: str = "num_kv_heads") -> tuple[Cut, ...]:
    """The parts of attention; `kv` is the number of heads that keys and values have."""
    return (
        Cut("q_proj", ROWS, "num_heads"),
        Cut("k_proj", ROWS, kv, can_repeat=True),
        Cut("v_proj", ROWS, kv, can_repeat=True),
        Cut("o_proj", COLUMNS, "num_heads"),
        Cut("gate_proj", ROWS, "num_heads"),  # of what each head gives, where there is one
        Cut("sinks", ROWS, "num_heads"),
        Cut("q_norm", SHARED),
        Cut("k_norm", SHARED),
    )


GROUPED_HEADS = of_heads()
EQUAL_HEADS = of_heads("num_heads")
LATENT_HEADS = (
    Cut("q_proj", ROWS, "num_heads"),
    Cut("q_up", ROWS, "num_heads"),
    Cut("kv_up", ROWS, "num_heads"),
    Cut("o_proj", COLUMNS, "num_heads"),
)
FEED_FORWARD = (Cut("gate_proj", ROWS), Cut("up_proj", ROWS), Cut("down_proj", COLUMNS))
EXPERT_BIASES = (Cut("gate_bias", COLUMNS), Cut("up_bias", COLUMNS), Cut("down_bias", PARTED))
STACKED_EXPERTS = (
    *FEED_FORWARD,
    *EXPERT_BIASES,
    *(Cut(cut.part, EXPERTS, "num_experts") for cut in (*FEED_FORWARD, *EXPERT_BIASES)),
)
BIAS_PER_HEAD = (Cut("weight", COLUMNS, "num_heads"),)
SLOPE_PER_HEAD = (Cut("slopes", ROWS, "num_heads"),)
TRUNK = (Cut("embed", VOCABULARY), Cut("source_embed", VOCABULARY), Cut("lm_head", VOCABULARY))


def share_of(cut: Cut, ndim: int, units: int | None) -> Share:
    """How a weight of so many dimensions is cut that belongs to a part; `units` is the number that `cut.of` names."""
    return Share(cut.by, dimension(cut.by, ndim), units, cut.can_repeat)
