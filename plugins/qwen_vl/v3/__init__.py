"""Qwen3-VL, whose decoder takes in tokens of several depths of its tower."""
