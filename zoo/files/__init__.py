"""Bytes on disk: what reads, checks, stages and writes the files of a checkpoint. Knows no family."""
