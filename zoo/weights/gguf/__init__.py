"""The format of llama.cpp: what its files call things, read both ways."""
