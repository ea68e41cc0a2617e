"""Conversations to prompts: the templates that checkpoints bring, and the formats of families that bring none."""
