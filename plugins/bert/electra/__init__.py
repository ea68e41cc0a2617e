"""ELECTRA: BERT's encoder trained to tell replaced tokens, and the small one that replaces them."""
