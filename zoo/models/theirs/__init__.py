"""Models of families that zoo does not have, by transformers' own classes, opened as strictly as any other.

The class is built on meta from config.json, each of whose keys it must know; each of its weights must be in the files,
and each tensor of the files in the class. Nothing is drawn at random and no code of a checkpoint is run. What it gives
up: zoo does not prove the arithmetic, and has no table by which it could write the weights again.
"""
