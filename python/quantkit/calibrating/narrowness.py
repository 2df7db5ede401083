"""Whether a calibration text is narrow: compare it with the built-in mixture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import FormatError
from ..execution.workers import Workers
from ..forward.base import F32
from ..forward.decoder import Decoder
from ..forward.layer import Layer
from ..gguf.source import ModelSource
from ..inference.weights import load_model
from ..tokens.options import TextOptions
from ..tokens.texts import Tokens
from .breadth import Breadth, breadth_of
from .capturing import CapturedWeights, Part, Run
from .mixture import mixture_texts
from .sample import Sample, sample_of
from .sums import F64

__all__ = ["breadth_of_sample"]

N_COMPARED = 4608
"""Tokens of each text; with fewer, the distance is larger by chance."""

DEPTHS = (0.1, 0.48, 0.92)
"""The layers whose inputs are compared, as shares of all."""

MATRICES = ("attn_q", "attn_qkv", "attn_output", "ffn_gate", "ffn_down")
"""The matrices whose inputs are compared, as far as a layer has them."""


def breadth_of_sample(
    source: ModelSource, sample: Sample, options: TextOptions, workers: Workers
) -> Breadth | None:
    """What a text covers, by the inputs that it gives to some matrices.

    None: the model has none of these matrices, or its vocabulary cannot express the
    mixture, so that there is nothing to compare with.

    Args:
        source: the model.
        sample: the text's tokens; some of them are used.
        options: how they were cut.
        workers: run some sequences at a time.
    """
    plain = replace(options, chat=False, chunks=None)
    try:
        other = sample_of(source, mixture_texts(), N_COMPARED, plain)
    except FormatError:
        return None
    n = min(len(other.chunks), len(sample.chunks))
    own = sample.chunks[np.arange(n) * len(sample.chunks) // n]
    squares = _squares(source, [own, other.chunks], workers)
    return breadth_of(sample.chunks, *squares) if squares[0] else None


def _squares(
    source: ModelSource, texts: Sequence[Tokens], workers: Workers
) -> list[dict[str, F64]]:
    """The sums of the squared inputs of some matrices, by name, for each text."""
    weights = CapturedWeights(source.tensors)
    model = load_model(source, weights)
    assert isinstance(model, Decoder)  # every family's is
    found: list[dict[str, F64]] = [{} for _ in texts]
    states = [[model.embedded(tokens) for tokens in chunks] for chunks in texts]
    n_layers = len(model.layers)
    compared = {int(depth * n_layers) for depth in DEPTHS}
    for number, layer in enumerate(model.layers[: max(compared) + 1]):
        at = f"blk.{model.block_of(number)}."
        names = [f"{at}{name}.weight" for name in MATRICES if number in compared]
        parts = [part for name in names for part in weights.parts(name)[:1]]
        for sums, text in zip(found, states, strict=True):
            pieces = (Piece(weights, layer, parts, x) for x in text)
            for place, (_, ran) in enumerate(workers.in_order(passed, pieces)):
                text[place], squares = ran
                for name, each in squares.items():
                    sums[name] = sums[name] + each if name in sums else each
        weights.forget([name for name in source.tensors if name.startswith(at)])
    return found


@dataclass(frozen=True, eq=False)
class Piece:
    """A sequence to run through a layer."""

    weights: CapturedWeights
    layer: Layer
    parts: Sequence[Part]
    x: F32


def passed(piece: Piece) -> tuple[F32, dict[str, F64]]:
    """The stream after a layer, and the squares of the inputs after the first token."""
    run = Run(wanted=piece.parts)
    with piece.weights.running(run):
        output = piece.layer(piece.x)
    return output, {
        part.tensor: np.square(each.values[1:], dtype=np.float64).sum(axis=0)
        for part, each in run.inputs.items()
    }
