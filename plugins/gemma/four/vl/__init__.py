"""Gemma 4 with its image tower."""
