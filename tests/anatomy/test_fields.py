"""Fields by dotted name, with the comments of the source as their documentation."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.anatomy.config import ModelConfig, RopeConfig
from zoo.anatomy.fields import doc_of, fields_of


@dataclass
class Parent(ModelConfig):
    width: int | None = None  # how wide, in channels: 1 to 9
    depth: int = 3
    rope: RopeConfig | None = None  # rotary positions


@dataclass
class Child(Parent):
    depth: int = 4  # how deep


def test_records_are_walked_into():
    found = fields_of(Parent, "model.")
    assert {"model.width", "model.rope", "model.rope.theta"} <= found.keys()
    assert found["model.width"].kind is int
    assert found["model.rope"].kind is RopeConfig


def test_doc_is_the_trailing_comment_of_the_class_that_declares_the_field():
    assert doc_of(Parent, "width") == "how wide, in channels: 1 to 9"
    assert doc_of(Child, "width") == "how wide, in channels: 1 to 9"
    assert doc_of(Child, "depth") == "how deep"
    assert doc_of(Parent, "depth") == ""
    assert doc_of(Parent, "bos_token_id") == "token that begins a text"


def test_a_class_without_source_has_no_docs():
    made = dataclass(type("Made", (), {"__annotations__": {"x": int}, "x": 1}))
    assert fields_of(made)["x"].doc == ""
