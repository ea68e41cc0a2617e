"""Gemma 3n: AltUp, LAuReL, embeddings per layer, and keys shared between layers."""
