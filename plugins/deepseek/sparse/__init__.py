"""DeepSeek-V3.2 and GLM-5: DeepSeek-V3 whose attention reads only what an indexer chooses."""
