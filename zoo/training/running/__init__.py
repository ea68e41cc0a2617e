"""A run from its recipe to a folder: checkpoints, metrics, the report."""
