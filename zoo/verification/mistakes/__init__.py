"""The mistakes that ports of language models make, each as a repair that would undo it."""
