"""What a folder of peft says: its settings, and whose tensors it holds. Needs no torch."""
