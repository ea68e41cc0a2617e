"""Break checkpoints in many ways, follow every hint that zoo prints to the letter, and see that none misleads."""
