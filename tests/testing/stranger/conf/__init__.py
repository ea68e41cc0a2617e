"""The stranger's presets."""
