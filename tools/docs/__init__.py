"""Makes the sources of the documentation site: what is written by hand in docs/, and what follows from the code."""
