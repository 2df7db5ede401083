"""Shapes of the tensors of tiny checkpoints, in few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["Shapes", "biased", "inside", "layers", "norms", "weights"]

Shapes = dict[str, tuple[int, ...]]


def weights(shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
    """The weights of modules."""
    return {f"{name}.weight": shape for name, shape in shapes.items()}


def biased(shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
    """The weights and biases of modules."""
    made: Shapes = {}
    for name, shape in shapes.items():
        made |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return made


def norms(names: Iterable[str], width: int) -> Shapes:
    """The weights and biases of norms of one width."""
    return biased({name: (width,) for name in names})


def inside(start: str, shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
    """Tensors with a common start of their names."""
    return {f"{start}{name}": shape for name, shape in shapes.items()}


def layers(start: str, n: int, shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
    """The tensors of n equal layers."""
    made: Shapes = {}
    for number in range(n):
        made |= inside(f"{start}{number}.", shapes)
    return made
