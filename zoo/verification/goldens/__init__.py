"""Every family's code on numbers that its reference computed: read, rerun and written."""
