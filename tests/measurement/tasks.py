"""Three small tasks of lm-evaluation-harness, one for each kind of question that it asks a model. Needs no network."""

from __future__ import annotations

import json
from pathlib import Path

CHOICES = [  # a context, what may follow, and which of it does: of different lengths, and not always the likeliest
    ("She was very much", ["pleased with him", "of the", "blue machine engine"], 0),
    ("Mr. Knightley", ["had been in the room", "xyz"], 0),
    ("It is a truth universally", ["acknowledged", "the", "had"], 1),
    ("He could not", ["help", "be so very much in love with her sister's friend", "ladies"], 2),
    ("The morning", ["was fine", "were fine", "!!"], 1),
]
TEXTS = [
    "It was a very fine morning, and Emma was in the best of spirits.\n" * 30,  # longer than one window
    "Her father had been ill.",
]
QUESTIONS = [("The young ladies were", "not."), ("Once", "upon"), ("Mrs. Bennet was in the", "house")]


def write_tasks(folder: Path) -> list[str]:
    """Write the tasks and their data into `folder`; their names."""
    folder.mkdir(exist_ok=True)
    _data(folder / "choices.jsonl", [{"context": c, "options": o, "right": r} for c, o, r in CHOICES])
    _data(folder / "texts.jsonl", [{"text": text} for text in TEXTS])
    _data(folder / "questions.jsonl", [{"question": q, "answer": a} for q, a in QUESTIONS])
    _task(folder, "zoo_choices", "choices", "multiple_choice", {
        "doc_to_text": "{{context}}", "doc_to_choice": "{{options}}", "doc_to_target": "{{right}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    })  # fmt: skip
    _task(folder, "zoo_texts", "texts", "loglikelihood_rolling", {
        "doc_to_text": "", "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    })  # fmt: skip
    _task(folder, "zoo_questions", "questions", "generate_until", {
        "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": [".", "\n"], "max_gen_toks": 24, "do_sample": False},
        "metric_list": [{"metric": "chrf"}],
    })  # fmt: skip
    return ["zoo_choices", "zoo_texts", "zoo_questions"]


def _task(folder: Path, name: str, data: str, kind: str, settings: dict[str, object]) -> None:
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str((folder / f"{data}.jsonl").resolve())}},
        "test_split": "test",
        "output_type": kind,
        **settings,
    }
    (folder / f"{name}.yaml").write_text(json.dumps(task, indent=2))  # JSON is YAML


def _data(file: Path, rows: list[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
