"""How the next tokens are chosen: the loop, sampling, beams, and when a row ends."""
