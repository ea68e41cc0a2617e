"""BERT and its relatives as Hugging Face stores them."""
