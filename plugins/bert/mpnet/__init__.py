"""MPNet: BERT with a learned bias per distance, under the most used embedder of English sentences."""
