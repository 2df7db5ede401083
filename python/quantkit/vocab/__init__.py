"""Convert a checkpoint's tokenizer files to `tokenizer.*` metadata.

Supported: SentencePiece models, tiktoken rank files, and tokenizer.json with byte-level
BPE, WordPiece, unigram or the merges of a SentencePiece model.  Rules of single model
families are in `families.py`.
"""

from .fields import VocabType, tokenizer_fields

__all__ = ["VocabType", "tokenizer_fields"]
