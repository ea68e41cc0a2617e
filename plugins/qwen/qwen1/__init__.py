"""The first Qwen: dynamic NTK and log-n attention beyond the trained length."""
