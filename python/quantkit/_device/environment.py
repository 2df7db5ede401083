"""Variables of the environment by which CUDA's libraries multiply in another precision.

They would change results without a word in the options, so they are refused.
"""

from __future__ import annotations

import os

from ..errors import OptionError
from ..settings import shown

__all__ = ["refuse_environment"]


def refuse_environment(activations: str | None) -> None:
    """Refuse what contradicts the precision of a model on a device.

    Sources: docs.cupy.dev/en/stable/reference/environment.html, and
    docs.nvidia.com/cuda/cublas ("Tensor Core Usage").

    Args:
        activations: the precision that is asked for, such as "tf32".

    Raises:
        OptionError: a variable asks for another one.
    """
    if os.environ.get("CUPY_TF32", "0") != "0":
        raise OptionError(
            f"CUPY_TF32 is {shown(os.environ['CUPY_TF32'])}, so CuPy would compute "
            "some products in TF32 whatever `activations` is; unset it"
        )
    if activations == "tf32" and os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        raise OptionError(
            "`activations` is 'tf32', but NVIDIA_TF32_OVERRIDE is '0', which turns "
            "TF32 off; unset it, or ask for 'f32'"
        )
