"""GGUF files as zoo writes them, and files in parts; `gguf_file` reads one."""
