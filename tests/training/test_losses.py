"""Every objective against its formula written out, number by number, in float64; gradients against differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import zoo
from tests.some import one_in
from zoo.errors import UsageError
from zoo.training.losses import (
    IGNORED,
    balanced_bias,
    chunked_loss,
    contrastive_loss,
    distillation_loss,
    dpo_loss,
    ipo_loss,
    log_probabilities,
    multi_token_loss,
    next_tokens,
    reward_loss,
    router_z_loss,
    sigmoid_loss,
    token_loss,
)

EXACT = {"rtol": 1e-12, "atol": 1e-12}  # float64: a few roundings


def logits_of(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)


LOGITS = logits_of(2, 4, 7)
LABELS = torch.tensor([[3, IGNORED, 0, 6], [IGNORED, 5, 5, IGNORED]])


def softmax(row: Tensor) -> list[float]:
    powers = [math.exp(value) for value in row.tolist()]
    return [power / sum(powers) for power in powers]


def written_out(logits: Tensor, labels: Tensor, smoothing: float = 0.0, z: float = 0.0) -> list[float]:
    """The loss of every label that counts."""
    found = []
    for row, label in zip(logits.flatten(0, -2), labels.flatten().tolist(), strict=True):
        if label != IGNORED:
            p = softmax(row)
            hard, soft = -math.log(p[label]), -sum(map(math.log, p)) / len(p)
            norm = math.log(sum(math.exp(value) for value in row.tolist()))
            found.append((1 - smoothing) * hard + smoothing * soft + z * norm**2)
    return found


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("options", [{}, {"smoothing": 0.1}, {"z": 1e-2}, {"smoothing": 0.2, "z": 1e-3}], ids=str)
def test_tokens_cost_what_the_formula_says(options: dict[str, float]) -> None:
    expected = written_out(LOGITS, LABELS, **options)
    assert token_loss(LOGITS, LABELS, **options).item() == pytest.approx(mean(expected), rel=1e-12)
    assert token_loss(LOGITS, LABELS, total=20, **options).item() == pytest.approx(sum(expected) / 20, rel=1e-12)


@pytest.mark.parametrize("chunk", one_in(5, [3, 1, 2, 5, 100]))
def test_chunks_give_the_same_loss_and_the_same_gradients(chunk: int) -> None:
    def run(chunked: bool) -> list[Tensor]:
        states, weight = logits_of(2, 4, 5, seed=1).requires_grad_(), logits_of(7, 5, seed=2).requires_grad_()
        options = {"smoothing": 0.1, "z": 1e-2}
        if chunked:
            loss = chunked_loss(states, lambda x: x @ weight.mT, LABELS, chunk=chunk, **options)
        else:
            loss = token_loss(states @ weight.mT, LABELS, **options)
        loss.backward()
        assert states.grad is not None
        assert weight.grad is not None
        return [loss.detach(), states.grad, weight.grad]

    for ours, theirs in zip(run(True), run(False), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_chunks_never_hold_all_logits() -> None:
    """What autograd keeps for the backward pass is told by its hooks: no tensor with more rows than a chunk has V."""
    states, weight = logits_of(4, 16, 5).requires_grad_(), logits_of(101, 5).requires_grad_()
    labels, seen = torch.arange(64).view(4, 16), []

    def note(x: Tensor) -> Tensor:
        seen.append(x.numel() if x.shape and x.shape[-1] == 101 else 0)
        return x

    largest = []

    def head(x: Tensor) -> Tensor:
        out = x @ weight.mT
        largest.append(out.numel())
        return out

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        loss = chunked_loss(states, head, labels, chunk=8)
    assert max(seen, default=0) == 0
    loss.backward()
    assert max(largest) == 8 * 101
    assert len(largest) == 2 * 8  # once forward, once backward, for each of the 8 chunks


def test_a_model_is_trained_by_its_states_and_head() -> None:
    model = zoo.load("tiny", dtype="float64")
    tokens = torch.randint(model.config.vocab_size, (2, 9), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[0, :3] = False
    labels = next_tokens(tokens, mask)
    whole = token_loss(model(tokens, attention_mask=mask), labels)
    chunked = chunked_loss(model.states(tokens, attention_mask=mask), model.decode, labels, chunk=3)
    torch.testing.assert_close(chunked, whole, **EXACT)
    assert whole < math.log(model.config.vocab_size) * 3


def test_labels_are_the_tokens_behind_and_padding_has_none() -> None:
    tokens = torch.tensor([[1, 2, 3, 4], [9, 9, 5, 6], [7, 8, 9, 9]])
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0]])
    no = IGNORED
    assert next_tokens(tokens).tolist() == [[2, 3, 4, no], [9, 5, 6, no], [8, 9, 9, no]]
    assert next_tokens(tokens, mask).tolist() == [[2, 3, 4, no], [no, no, 6, no], [8, no, no, no]]


def test_labels_that_are_all_ignored_and_shapes_that_do_not_fit_are_refused() -> None:
    none = torch.full_like(LABELS, IGNORED)
    with pytest.raises(UsageError, match="every label is ignored"):
        token_loss(LOGITS, none)
    with pytest.raises(UsageError, match="every label is ignored"):
        chunked_loss(LOGITS, lambda x: x, none)
    assert token_loss(LOGITS, none, total=5).item() == 0  # one step of several that count together
    assert chunked_loss(LOGITS, lambda x: x, none, total=5).item() == 0
    with pytest.raises(UsageError, match="do not fit"):
        token_loss(LOGITS, LABELS[:, :3])
    with pytest.raises(UsageError, match="do not fit"):
        chunked_loss(LOGITS, lambda x: x, LABELS[:, :3])


def test_log_probabilities_are_those_of_the_labels() -> None:
    found = log_probabilities(LOGITS, LABELS)
    assert found[0, 2].item() == pytest.approx(math.log(softmax(LOGITS[0, 2])[0]), rel=1e-12)
    assert found[LABELS == IGNORED].tolist() == [0, 0, 0]
    assert -found.sum().item() == pytest.approx(sum(written_out(LOGITS, LABELS)), rel=1e-12)


def test_further_predictions_stand_two_and_more_places_on() -> None:
    tokens = torch.tensor([[1, 2, 3, 4, 5]])
    logits = [logits_of(1, 5, 7, seed=4), logits_of(1, 5, 7, seed=5)]
    first = written_out(logits[0], torch.tensor([[3, 4, 5, IGNORED, IGNORED]]))
    second = written_out(logits[1], torch.tensor([[4, 5, IGNORED, IGNORED, IGNORED]]))
    found = multi_token_loss(logits, tokens, weight=0.3)
    assert found.item() == pytest.approx(0.3 * (mean(first) + mean(second)) / 2, rel=1e-12)
    with pytest.raises(UsageError, match="every label is ignored"):
        multi_token_loss([logits_of(1, 2, 7)], tokens[:, :2], weight=1.0)


def test_images_and_texts_are_told_apart_both_ways() -> None:
    image, text, scale = logits_of(3, 4, seed=6), logits_of(3, 4, seed=7), 5.0

    def cosine(a: Tensor, b: Tensor) -> float:
        return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))

    table = [[scale * cosine(i, t) for t in text] for i in image]
    rows = [-math.log(softmax(torch.tensor(row, dtype=torch.float64))[i]) for i, row in enumerate(table)]
    columns = [
        -math.log(softmax(torch.tensor(row, dtype=torch.float64))[i]) for i, row in enumerate(zip(*table, strict=True))
    ]
    expected = (mean(rows) + mean(columns)) / 2
    assert contrastive_loss(image, text, scale).item() == pytest.approx(expected, rel=1e-12)
    assert contrastive_loss(image * 7, text / 3, scale).item() == pytest.approx(expected, rel=1e-12)
    with pytest.raises(UsageError, match="not pairs"):
        contrastive_loss(image, text[:2], scale)


def test_each_pair_of_an_image_and_a_text_is_a_claim_by_itself() -> None:
    image, text, scale, bias = logits_of(3, 4, seed=1), logits_of(3, 4, seed=2), 4.0, -1.5
    table = (scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).mT + bias).tolist()
    claims = [math.log1p(math.exp(-x if i == j else x)) for i, row in enumerate(table) for j, x in enumerate(row)]
    assert sigmoid_loss(image * 7, text, scale, bias).item() == pytest.approx(sum(claims) / 3, rel=1e-12)
    with pytest.raises(UsageError, match="not pairs"):
        sigmoid_loss(image, text[:2], scale, bias)


@pytest.mark.slow  # transformers is imported
def test_transformers_gives_the_same_losses() -> None:
    loss_utils = pytest.importorskip("transformers.loss.loss_utils", reason="transformers is not there")
    from transformers.models.clip.modeling_clip import image_text_contrastive_loss
    from transformers.trainer_pt_utils import LabelSmoother

    single = {"rtol": 1e-6, "atol": 1e-6}  # it computes these in float32
    tokens = torch.tensor([[3, 1, 0, 6], [2, 5, 5, 4]])
    theirs = loss_utils.ForCausalLMLoss(LOGITS, tokens, 7)
    torch.testing.assert_close(token_loss(LOGITS, next_tokens(tokens)).float(), theirs, **single)
    theirs = loss_utils.ForMaskedLMLoss(LOGITS, LABELS, 7)
    torch.testing.assert_close(token_loss(LOGITS, LABELS).float(), theirs, **single)
    theirs = LabelSmoother(0.2)({"logits": LOGITS}, LABELS.clone())
    torch.testing.assert_close(token_loss(LOGITS, LABELS, smoothing=0.2).float(), theirs.float(), **single)
    image, text = (F.normalize(logits_of(5, 4, seed=seed), dim=-1) for seed in (8, 9))
    theirs = image_text_contrastive_loss(9.0 * text @ image.mT)
    torch.testing.assert_close(contrastive_loss(image, text, 9.0), theirs, **EXACT)


@pytest.mark.parametrize("is_reverse", [False, True])
def test_a_student_is_as_far_from_its_teacher_as_their_distributions_are(is_reverse: bool) -> None:
    student, teacher, t = LOGITS, logits_of(2, 4, 7, seed=10), 2.0
    found = []
    for ours, theirs, label in zip(student.flatten(0, 1), teacher.flatten(0, 1), LABELS.flatten(), strict=True):
        if label != IGNORED:
            p, q = softmax(theirs / t), softmax(ours / t)
            p, q = (q, p) if is_reverse else (p, q)
            found.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    loss = distillation_loss(student, teacher, LABELS, temperature=t, is_reverse=is_reverse)
    assert loss.item() == pytest.approx(mean(found) * t * t, rel=1e-12)
    assert distillation_loss(student, student, LABELS).item() == pytest.approx(0, abs=1e-12)
    with pytest.raises(UsageError, match="fit"):
        distillation_loss(student, teacher[..., :3], LABELS)
    with pytest.raises(UsageError, match="ignored"):
        distillation_loss(student, teacher, torch.full_like(LABELS, IGNORED))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_the_preferred_answer_is_worth_more() -> None:
    chosen, rejected = [0.3, -1.0, 2.0], [0.1, 0.5, -2.0]
    expected = mean([-math.log(sigmoid(c - r - 0.25)) for c, r in zip(chosen, rejected, strict=True)])
    given = [torch.tensor(side, dtype=torch.float64) for side in (chosen, rejected)]
    assert reward_loss(*given, margin=0.25).item() == pytest.approx(expected, rel=1e-12)


PAIRS = [logits_of(4, seed=seed) for seed in range(4)]  # of the model: chosen, rejected; of the reference likewise


def margins() -> list[float]:
    a, b, c, d = (side.tolist() for side in PAIRS)
    return [(a[i] - c[i]) - (b[i] - d[i]) for i in range(4)]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_dpo_is_its_equation(smoothing: float) -> None:
    expected = mean(
        [-(1 - smoothing) * math.log(sigmoid(0.3 * m)) - smoothing * math.log(sigmoid(-0.3 * m)) for m in margins()]
    )
    assert dpo_loss(*PAIRS, beta=0.3, smoothing=smoothing).item() == pytest.approx(expected, rel=1e-12)
    with pytest.raises(UsageError, match=r"0\.5"):
        dpo_loss(*PAIRS, smoothing=0.5)


def test_ipo_is_its_equation() -> None:
    expected = mean([(m - 1 / (2 * 0.2)) ** 2 for m in margins()])
    assert ipo_loss(*PAIRS, beta=0.2).item() == pytest.approx(expected, rel=1e-12)


def test_routers_and_their_biases() -> None:
    logits = logits_of(6, 4)
    expected = mean([math.log(sum(math.exp(v) for v in row)) ** 2 for row in logits.tolist()])
    assert router_z_loss(logits).item() == pytest.approx(expected, rel=1e-12)
    bias = torch.tensor([0.5, 0.5, 0.5, -1.0])
    moved = balanced_bias(bias, torch.tensor([0, 8, 4, 4]), rate=0.125)
    assert moved.tolist() == [0.625, 0.375, 0.5, -1.0]


GRADED = {
    "tokens": lambda x: token_loss(x, LABELS, smoothing=0.1, z=0.01),
    "chunks": lambda x: chunked_loss(x, lambda y: y * 2, LABELS, chunk=2),
    "contrast": lambda x: contrastive_loss(x.flatten(1), LOGITS.flatten(1).cos(), 3.0),
    "distilled": lambda x: distillation_loss(x, LOGITS.cos(), LABELS, temperature=1.5),
    "distilled back": lambda x: distillation_loss(x, LOGITS.cos(), LABELS, is_reverse=True),
    "router": lambda x: router_z_loss(x.flatten(0, 1)),
    "dpo": lambda x: dpo_loss(x[0, :, 0], x[0, :, 1], x[1, :, 0], x[1, :, 1], beta=0.5, smoothing=0.1),
    "ipo": lambda x: ipo_loss(x[0, :, 0], x[0, :, 1], x[1, :, 0], x[1, :, 1], beta=0.5),
    "reward": lambda x: reward_loss(x[0], x[1], margin=0.5),
}


@pytest.mark.parametrize("name", GRADED)
def test_gradients_are_those_of_differences(name: str) -> None:
    assert torch.autograd.gradcheck(GRADED[name], (LOGITS.clone().requires_grad_(),))


def test_half_precision_is_computed_in_float32() -> None:
    logits = LOGITS.to(torch.bfloat16)
    found = token_loss(logits, LABELS, smoothing=0.1, z=0.01)
    assert found.dtype == torch.float32
    expected = written_out(logits.double(), LABELS, 0.1, 0.01)
    assert found.item() == pytest.approx(mean(expected), rel=1e-6)  # one float32 rounding per operation
