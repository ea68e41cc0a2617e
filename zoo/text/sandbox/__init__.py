"""Where templates of strangers run: every step is counted, and stopped beyond a budget."""
