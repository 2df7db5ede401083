"""Save the embeddings of a comparison, so that a later run can resume it.

They are records of the file that `evaluate.saved` describes, with one array each:

    {"key": hash, "seconds": duration, "embedding": f32 [components] as base64}
"""

from __future__ import annotations

import numpy as np

from ..evaluate.saved import SavedRecords
from .known import Timed

__all__ = ["SavedEmbeddings"]


class SavedEmbeddings(SavedRecords):
    """The embeddings of passages by key."""

    def embedding(self, key: str) -> Timed | None:
        """The saved embedding of a passage, or None."""
        found, seconds = self.arrays(key, {"embedding": np.float32}), self.seconds(key)
        if found is None or seconds is None or not len(found[0]):
            return None
        return Timed(found[0], seconds)

    def add(self, key: str, timed: Timed) -> None:
        """Save the embedding of a passage under a key."""
        self.write(key, timed.seconds, embedding=timed.vector)
