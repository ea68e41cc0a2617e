"""RoBERTa in a hundred languages, and its two largest, whose norms come first."""
