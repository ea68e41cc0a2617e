"""Gemma 3 with its image tower."""
