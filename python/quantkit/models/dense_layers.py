"""How many layers of a mixture of experts are dense."""

from __future__ import annotations

from ..errors import UnsupportedModelError
from ..forward.base import Config
from ..settings import shown
from .config import n_layers

__all__ = ["n_dense_layers"]


def n_dense_layers(config: Config, default: int) -> int:
    """The number of layers before those with experts.

    Args:
        config: may list the layers, or state the number.
        default: the number of the class, if it does neither.

    Raises:
        UnsupportedModelError: a layer with experts precedes a dense one, or list and
            number differ; GGUF has a key for the number only.
    """
    stated = config.get("first_k_dense_replace")
    kinds = config.get("mlp_layer_types")
    if kinds is None:
        return default if stated is None else int(stated)
    count = kinds.count("dense")
    listed = ["dense"] * count + ["sparse"] * (n_layers(config) - count)
    if kinds != listed or stated not in (None, count):
        raise UnsupportedModelError(
            f"config.json has mlp_layer_types: {shown(kinds)} and "
            f"first_k_dense_replace: {shown(stated)}; GGUF readers support only "
            "'dense' layers before 'sparse' ones, as many as the number says"
        )
    return int(count)
