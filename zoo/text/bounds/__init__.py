"""How a tokenizer.json from a stranger is built: what it may cost, in time and in memory, is bounded before."""
