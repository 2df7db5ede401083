"""What each type costs: every recipe against the model as it is, on the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..opening import open_source
from ..progress import Progress
from ..recipes import Recipe
from ..slabs import Importance
from ..source import ModelSource
from .perplexity import PerplexityResult, chunk_text, measure
from .statistics import perplexity_difference
from .weights import MemoryWeights, load_model, load_weights

__all__ = ["Comparison", "Measurement", "compare"]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Measurement:
    """What a model takes and how well it predicts.

    Attributes:
        name: the recipe; of the base, its main type.
        type: the type that most of the weights have, which differs from the recipe's
            where rows are not a multiple of its block.
        size_bytes: bytes of all tensors.
        bpw: bits per weight, over all tensors.
        ppl: perplexity.
        ppl_error: its standard error.
        delta_ppl: perplexity less the base's.
        delta_ppl_error: standard error of `delta_ppl`, paired token by token.
    """

    name: str
    type: str
    size_bytes: int
    bpw: float
    ppl: float
    ppl_error: float
    delta_ppl: float
    delta_ppl_error: float


@dataclass(frozen=True)
class Comparison:
    """The model as it is, and each recipe in the order asked for."""

    base: Measurement
    results: list[Measurement]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def compare(
    model: str | Path | ModelSource,
    text: str | Path,
    types: Sequence[str],
    *,
    ctx: int = 512,
    chunks: int | None = None,
    importance: Importance | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Measures what each recipe costs a model on a text; writes no file.

    Recipes are quantized in memory one after the other.

    Args:
        model: a GGUF file, a checkpoint folder, or an open source.
        text: the text itself, or the Path of a UTF-8 file.
        types: recipes, such as ["Q8_0", "Q4_K_M"].
        ctx: tokens per chunk.
        chunks: how many chunks to evaluate; None: all.
        importance: importance of each column, by tensor name.
        threads: chunks evaluated at a time; None: one per core.
        progress: told about every slab quantized and every chunk evaluated.

    Raises:
        UnsupportedTypeError: an unknown recipe.
        QuantkitError: the text is too short for `ctx`.
    """
    recipes = [Recipe.parse(name) for name in types]
    source = open_source(model)
    cut = chunk_text(source, text, ctx, chunks)

    def evaluate(
        name: str, weights: MemoryWeights, base_nll: F64 | None = None
    ) -> tuple[Measurement, F64]:
        loaded, stage = load_model(source, weights), f"{name}: perplexity"
        result = measure(loaded, cut, threads, progress, stage)
        against = result.nll if base_nll is None else base_nll
        return _measurement(name, weights, result, against), result.nll

    as_it_is = load_weights(source)
    base, base_nll = evaluate(as_it_is.main_type.name, as_it_is)
    results = []
    for recipe in recipes:
        weights = load_weights(
            source, recipe, importance=importance, threads=threads, progress=progress
        )
        results.append(evaluate(recipe.name, weights, base_nll)[0])
        del weights  # before the next recipe takes its place in memory
    return Comparison(base, results)


def _measurement(
    name: str, weights: MemoryWeights, result: PerplexityResult, base_nll: F64
) -> Measurement:
    delta = perplexity_difference(result.nll, base_nll)
    return Measurement(
        name=name,
        type=weights.main_type.name,
        size_bytes=weights.n_bytes,
        bpw=weights.bits_per_weight,
        ppl=result.ppl,
        ppl_error=result.error,
        delta_ppl=delta.value,
        delta_ppl_error=delta.error,
    )
