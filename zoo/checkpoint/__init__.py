"""A folder to a model and back: detect, inspect, load, save, convert, pull and push."""
