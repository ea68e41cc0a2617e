"""What training low-rank adapters costs (LoRA, arXiv:2106.09685), by arithmetic. Needs no torch.

Every matrix W [out, in] of attention, of a state's mixer, and of the MLP stays as it is and gets a product B A beside
it, with A [r, in] and B [out, r]. Each expert is an MLP of its own. Embeddings, norms, routers, biases and the head get
none.
"""

from __future__ import annotations

from math import prod

from zoo.anatomy.builder import Anatomy, Weight
from zoo.anatomy.size import Size, Training, item_bytes
from zoo.errors import UsageError

ROLES = ("attention", "mixer", "mlp", "experts")
RANK = 16


def adapter_parameters(anatomy: Anatomy, rank: int = RANK) -> int:
    """Parameters of the adapters: r * (in + out) for each matrix. Raises UsageError for a rank below 1."""
    if rank < 1:
        raise UsageError(f"an adapter's rank is at least 1, not {rank}")
    return sum(rank * (w.shape[-2] + w.shape[-1]) * _matrices(w) for w in _adapted(anatomy))


def lora_bytes(size: Size, batch: int, length: int, *, rank: int = RANK, dtype: str | None = None) -> Training:
    """Bytes of a training step of the adapters alone with AdamW on `batch` texts of `length` tokens.

    Weights are the frozen ones and the adapters, in `dtype`. Gradients and AdamW's states are the adapters' only, at
    as many bytes each as in `Size.training_bytes`. Activations are those of full training, for A's gradient needs
    what enters every adapted matrix, and r numbers more per token for each, which B's gradient needs.
    """
    width = item_bytes(dtype or size.dtype)
    adapters = adapter_parameters(size.anatomy, rank)
    entered = sum(rank * _matrices(w) * w.used for w in _adapted(size.anatomy))
    whole = size.training_bytes(batch, length, dtype)
    return Training(
        weights=whole.weights + adapters * width,
        gradients=adapters * width,
        optimizer=adapters * (8 if width >= 4 else 12),
        activations=whole.activations + round(batch * length * entered * width),
    )


def is_adaptable(weight: Weight) -> bool:
    """Whether it is a matrix, or experts' matrices in one tensor; a kernel that slides along the tokens is neither."""
    return weight.is_matmul and len(weight.shape) in ((2, 3) if weight.role == "experts" else (2,))


def _adapted(anatomy: Anatomy) -> list[Weight]:
    return [w for w in anatomy.weights if w.role in ROLES and is_adaptable(w)]


def _matrices(weight: Weight) -> int:
    """How many matrices a weight stands for: one per layer, and one per expert where experts lie in one tensor."""
    return prod(weight.shape[:-2]) * (1 if weight.layers is None else len(weight.layers))
