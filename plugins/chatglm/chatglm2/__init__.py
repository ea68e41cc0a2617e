"""ChatGLM2 and 3: causal, with half of each head rotated."""
