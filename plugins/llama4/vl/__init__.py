"""Llama 4 with its image tower."""
