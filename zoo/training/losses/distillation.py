"""Learning from another model's distribution."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.nn.norm import at_least_float32
from zoo.training.losses.tokens import IGNORED


def distillation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float = 1.0, is_reverse: bool = False
) -> Tensor:
    """Mean divergence in nats between two models' logits [..., V], over the labels [...] that are not IGNORED.

    Forward is KL(teacher || student) (arXiv:1503.02531), reverse KL(student || teacher) (arXiv:2306.08543). Both sides
    are softened by `temperature`, and the result is multiplied by its square, so that gradients keep their size.
    The teacher's logits should carry no gradient. Raises UsageError for shapes that do not fit, or if no label counts.
    """
    if student.shape != teacher.shape or student.shape[:-1] != labels.shape:
        shapes = ", ".join(str(list(x.shape)) for x in (student, teacher, labels))
        raise UsageError(f"student, teacher and labels do not fit together: {shapes}")
    count = (is_there := labels != IGNORED).sum()
    if not count:
        raise UsageError("every label is ignored: there is nothing to learn from")
    ours, theirs = ((at_least_float32(x) / temperature).log_softmax(-1) for x in (student, teacher))
    of, to = (theirs, ours) if is_reverse else (ours, theirs)
    each = F.kl_div(of, to, reduction="none", log_target=True).sum(-1)  # sum of to * (log to - log of)
    return each.where(is_there, 0.0).sum() / count * temperature**2
