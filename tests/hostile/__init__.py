"""Presets that mean harm: made by a seed, each used as a user would, in a process that is watched."""
