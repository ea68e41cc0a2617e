"""`zoo train` beside the Trainer of transformers: the same data and optimizer, the same weights after 20 steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, SequentialSampler

import zoo
from tests.training.runs import job, tiny, token_file
from zoo.training.corpus.order import Order
from zoo.training.running.beginning import train

pytestmark = pytest.mark.slow  # transformers takes seconds to import

STEPS = 20


class Ordered(Dataset):
    """The rows in the order in which zoo reads them, with the token that each row's last one predicts."""

    def __init__(self, ids: torch.Tensor, length: int, order: list[int]) -> None:
        self.rows = [ids[length * i : length * (i + 1) + 1] for i in order]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.rows[i], "labels": self.rows[i]}


def test_the_trainer_of_transformers_comes_to_the_same_weights(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    file = token_file(tmp_path, count=16 * 44 + 1)
    settings: dict[str, Any] = {"train": {"steps": STEPS}, "schedule": {"name": "constant"}, "dtype": "float32"}
    run, _ = train(job(tmp_path / "run", file, **settings))

    zoo.save(zoo.build(tiny(), device="cpu", seed=0), tmp_path / "hf")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32)
    order = Order(44, 2, 0)
    ids = torch.from_numpy(np.load(file).astype(np.int64))
    data = Ordered(ids, 16, [row for step in range(STEPS) for row in order.rows(step)])

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return SequentialSampler(data)

    arguments = transformers.TrainingArguments(
        str(tmp_path / "theirs"), max_steps=STEPS, per_device_train_batch_size=2, learning_rate=1e-3, weight_decay=0.1,
        adam_beta1=0.9, adam_beta2=0.95, adam_epsilon=1e-8, lr_scheduler_type="constant", max_grad_norm=1.0,
        optim="adamw_torch", use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    InOrder(model=theirs, args=arguments, train_dataset=data).train()
    theirs.save_pretrained(tmp_path / "trained")
    expected = dict(zoo.load(tmp_path / "trained").named_parameters())
    for name, p in run.trainee.model.named_parameters():  # float32, 20 steps: rounding in another order of sums
        assert (p - expected[name]).abs().max() < 1e-6, name
