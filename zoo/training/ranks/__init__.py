"""A run over several ranks: who reads which rows, what is added up, and checkpoints that all ranks write."""
