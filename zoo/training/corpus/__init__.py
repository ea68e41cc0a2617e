"""From files to rows of tokens: documents, their places in one long array, and how rows are cut out of it."""

from zoo.training.corpus.order import Order
from zoo.training.corpus.reading import Record, read_records, standing_at
from zoo.training.corpus.rows import Rows, cuts, pieces, shared_rows, windows
from zoo.training.corpus.tokens import Corpus, encoded, text_corpus, token_corpus

__all__ = [
    "Corpus", "Order", "Record", "Rows", "cuts", "encoded", "pieces", "read_records", "shared_rows", "standing_at",
    "text_corpus", "token_corpus", "windows",
]  # fmt: skip
