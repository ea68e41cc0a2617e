"""Numbers that are kept as a tensor are those that were asked for."""

from __future__ import annotations

import copy
import pickle

import torch
from torch import nn

from zoo.nn.constant import Constant

CPU, META = torch.device("cpu"), torch.device("meta")


def test_the_tensor_is_made_once_for_a_type_and_a_device() -> None:
    constant, numbers = Constant(), [0.1, 0.2]
    first = constant(numbers, torch.float64, CPU)
    assert first.tolist() == numbers
    assert constant(numbers, torch.float64, CPU) is first
    assert constant(numbers, torch.float32, CPU).dtype == torch.float32
    assert constant(numbers, torch.float32, META).is_meta
    assert not constant(numbers, torch.float32, CPU).is_meta


def test_other_numbers_are_another_tensor() -> None:
    constant = Constant()
    constant([0.1], torch.float64, CPU)
    assert constant([0.3], torch.float64, CPU).tolist() == [0.3]
    for other in (copy.deepcopy(constant), pickle.loads(pickle.dumps(constant))):
        assert other([0.4], torch.float64, CPU).tolist() == [0.4]


def test_a_tensor_made_in_inference_serves_training() -> None:
    constant, weight, numbers = Constant(), nn.Parameter(torch.ones(1, dtype=torch.float64)), [0.5]
    with torch.inference_mode():
        constant(numbers, torch.float64, CPU)
    (weight * constant(numbers, torch.float64, CPU)).sum().backward()  # keeps the constant for the gradient
    assert weight.grad is not None
    assert weight.grad.item() == 0.5
