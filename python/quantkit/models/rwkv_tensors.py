"""What the checkpoints of RWKV have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..checkpoint.lazy import LazyTensor, reshaped, stacked
from ..errors import CheckpointError
from .family import Named, Tensors

__all__ = ["SHIFT", "squeezed", "with_kinds", "with_shifts_fused"]

SHIFT = "time_mix_lerp_"
"""The start of the names of token shifts in a layer; a letter or `fused` follows."""


def with_kinds(stored: Tensors) -> Tensors:
    """The tensors, with ".weight" at the end of names that have no kind."""
    return {
        name if name.endswith((".weight", ".bias")) else f"{name}.weight": tensor
        for name, tensor in stored.items()
    }


def squeezed(tensor: LazyTensor) -> LazyTensor:
    """A tensor without axes of size 1."""
    kept = tuple(size for size in tensor.shape if size != 1)
    return reshaped(tensor, kept or (1,))


def with_shifts_fused(
    named: Iterator[Named], letters: Sequence[str], *, flat: bool
) -> Iterator[Named]:
    """GGUF tensors, with a layer's token shifts stacked as `time_mix_lerp_fused`.

    As llama.cpp's converter, this gives them in place of the last of them.

    Args:
        named: the tensors by GGUF name.
        letters: what shifts are of, in their order in the stack.
        flat: the shifts are vectors, which get axes of size 1.

    Raises:
        CheckpointError: a layer lacks one.
    """
    shifts: dict[str, dict[str, LazyTensor]] = {}
    for name, tensor in named:
        before, _, letter = name.removesuffix(".weight").rpartition(SHIFT)
        if not before or letter not in letters:
            yield name, tensor
            continue
        own = shifts.setdefault(before, {})
        own[letter] = tensor
        if len(own) == len(letters):
            del shifts[before]
            whole = stacked([own[each] for each in letters])
            if flat:
                whole = reshaped(whole, (len(letters), 1, 1, whole.shape[-1]))
            yield f"{before}{SHIFT}fused.weight", whole
    for before, own in shifts.items():
        missing = next(letter for letter in letters if letter not in own)
        raise CheckpointError(
            f"the checkpoint lacks the token shift {missing!r} of layer "
            f"{before.split('.')[1]}; a shard is missing"
        )
