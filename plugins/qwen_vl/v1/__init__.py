"""Qwen-VL-Chat, the first: 256 queries that read a picture."""
