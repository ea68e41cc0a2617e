"""Where a tokenizer is read from: a folder, or the metadata of a GGUF file."""
