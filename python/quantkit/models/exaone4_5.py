"""EXAONE 4.5: the text model, which is EXAONE 4's, and layers that predict further."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ..forward.base import Config
from ..gguf.keys import Field, uint32
from .config import n_layers
from .exaone4 import Exaone4
from .family import Named, Tensors
from .mtp import MTP, in_all_layers
from .next_predictors import n_blocks, n_predictors

__all__ = ["Exaone45"]


class Exaone45(Exaone4):
    """The same architecture in GGUF as EXAONE 4."""

    hf_classes = ("Exaone4_5_ForConditionalGeneration",)
    inner: ClassVar = {**Exaone4.inner, **MTP}

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_blocks(config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        fields["block_count"] = uint32(n_blocks(config))
        if n_more := n_predictors(config):
            fields["nextn_predict_layers"] = uint32(n_more)
        return fields

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors.

        Predicting layers that the config does not count are left out.
        """
        if not n_predictors(config):
            stored = {k: v for k, v in stored.items() if not k.startswith("mtp.")}
        shared = bool(config.get("mtp_share_layers"))
        stored = in_all_layers(
            stored, n_layers(config), n_blocks(config), shared=shared
        )
        yield from super().mapped(config, stored)
