"""A checkpoint's tokenizer files as `tokenizer.*` metadata.

Read are SentencePiece models; tokenizer.json with the merges of such a model, with
byte-level BPE, with unigram or with WordPiece; and tiktoken's files of ranks.  What a
family does in its own way is in `families.py`.
"""

from .fields import VocabType, tokenizer_fields

__all__ = ["VocabType", "tokenizer_fields"]
