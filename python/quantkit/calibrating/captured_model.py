"""A model whose matrices hand out their inputs, and the steps that it is run in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar
from uuid import uuid4

from ..execution.carried import Carried
from ..execution.opened import Shared
from ..forward.base import F32
from ..forward.decoder import Decoder
from ..gguf.keys import Field
from ..gguf.source import ModelSource, SourceTensor
from ..inference.computing import EXACT, Computing
from ..inference.weights import load_model
from .capturing import CapturedWeights

__all__ = ["CapturedModel", "Step", "head_of"]


@dataclass(frozen=True)
class Step:
    """Which function from stream to stream is meant.

    Attributes:
        layer: the number of the layer; None: what follows the last one, to the logits.
        part: the number of the layer's step; None: the whole layer.
    """

    layer: int | None = None
    part: int | None = None


@dataclass(frozen=True, eq=False)
class Described:
    """A source without its files.

    Attributes:
        metadata: its metadata.
        tensors: its tensors, by name; other processes open the files again.
    """

    metadata: Mapping[str, Field]
    tensors: Mapping[str, SourceTensor]


@dataclass(frozen=True, eq=False)
class CapturedModel:
    """A model to calibrate.

    Attributes:
        source: where its tensors are.
        weights: its weights.
        decoder: its layers, which use them.
    """

    source: Described
    weights: CapturedWeights
    decoder: Decoder

    @classmethod
    def of(cls, source: Described, computing: Computing = EXACT) -> CapturedModel:
        """Load a model; its weights follow when they are used.

        Raises:
            QuantkitError: as for `load_model`.
        """
        weights = CapturedWeights(source.tensors, computing)
        with weights.current():
            decoder = load_model(source, weights)
        assert isinstance(decoder, Decoder)  # every family's is
        return cls(source, weights, decoder)

    @classmethod
    def shared(
        cls, source: ModelSource, computing: Computing = EXACT
    ) -> Shared[CapturedModel]:
        """The model, which other processes load again."""
        there = Described(dict(source.metadata), dict(source.tensors))
        return Shared(CapturedOpener(Carried(there)), cls.of(there, computing))

    def function(self, step: Step, *, alone: bool) -> Callable[[F32], F32]:
        """The function of a step; `alone`: for rows that are sequences of one token."""
        if step.layer is None:
            return head_of(self.decoder)
        layer = self.decoder.layers[step.layer]
        layer = layer.alone() if alone else layer
        return layer if step.part is None else layer.steps[step.part]

    def tensors_of(self, layer: int) -> list[str]:
        """The names of the tensors of a layer."""
        at = f"blk.{self.decoder.block_of(layer)}."
        return [name for name in self.source.tensors if name.startswith(at)]


@dataclass(frozen=True)
class CapturedOpener:
    """Loads the model in another process.

    Attributes:
        source: its source.
        number: identifies an opener and its copies.
    """

    kept: ClassVar[int] = 1

    source: Carried[Described] = field(compare=False)
    number: str = field(default_factory=lambda: uuid4().hex)

    def open(self) -> CapturedModel:
        """Load it.

        Raises:
            QuantkitError: as for `CapturedModel.of`.
        """
        return CapturedModel.of(self.source.value)


def head_of(model: Decoder) -> Callable[[F32], F32]:
    """The logits of the stream after the last layer."""

    def headed(x: F32) -> F32:
        return model.head.apply(model.finished(x))

    return headed
