"""ALBERT: BERT whose layers share their weights, with embeddings of a width of their own."""
