"""How fast a model is and what memory it takes, measured in processes of their own."""
