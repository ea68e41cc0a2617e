"""Random configs of a family, each held to transformers; `tools/fuzz` runs it."""
