"""A comparison on paper: the table as text and Markdown, and the page with pictures."""
