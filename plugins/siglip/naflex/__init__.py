"""SigLIP 2 for pictures of any size and shape (NaFlex)."""
