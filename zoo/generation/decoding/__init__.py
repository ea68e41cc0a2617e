"""How the next tokens are chosen: the loop, sampling, beams, drafts, and when a row ends."""
