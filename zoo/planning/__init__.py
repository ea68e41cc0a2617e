"""What to train for a budget of compute, before anything is paid: sizes, tokens, days and memory. Needs no torch."""
