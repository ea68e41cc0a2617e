"""Texts of a form: a regular expression or a JSON schema, token by token, by the library llguidance (an extra)."""

from __future__ import annotations

from zoo.generation.form.processor import Form, form_of

__all__ = ["Form", "form_of"]
