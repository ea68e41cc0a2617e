"""A drawing kit: charts, treemaps, tables and a page to put them on. It knows numbers and words, and no model."""
