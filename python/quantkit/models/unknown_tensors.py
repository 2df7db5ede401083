"""What a checkpoint tensor is that a family does not have, for messages."""

from __future__ import annotations

import re

from ..errors import UnsupportedModelError

__all__ = ["unknown_tensor"]

KINDS = (
    (
        re.compile(r"(^|\.)(base_model|lora_\w+|modules_to_save|base_layer)\."),
        "it belongs to a PEFT adapter: merge the adapter into its model with PEFT, or "
        "convert it by itself (`convert_lora`)",
    ),
    (
        re.compile(r"\.(scales|biases)$"),
        "it belongs to weights that MLX quantized, but config.json has no "
        "`quantization` that describes them: download config.json again",
    ),
    (
        re.compile(
            r"(_scale|_scale_inv|_scale_2|_zero_point|_packed|_blocks|_scales"
            r"|\.qweight|\.qzeros|\.g_idx|\.SCB|\.absmax|\.quant_map|\.quant_state\..*)$"
        ),
        "it belongs to quantized weights, but config.json has no quantization_config "
        "that describes them: download config.json again",
    ),
    (
        re.compile(
            r"(^|\.)(vision\w*|visual|image\w*|audio\w*|mm_projector|embed_vision"
            r"|multi_modal_projector|embed_audio|speech\w*)\."
        ),
        "it belongs to a vision or audio part, which quantkit does not know in this "
        "family: use a checkpoint of the text model",
    ),
)
"""What a name says about a tensor, and what to do."""


def unknown_tensor(
    name: str, layer: int | None, n_layers: int, family: str
) -> UnsupportedModelError:
    """The error for a tensor that a family does not have.

    Args:
        name: of the tensor.
        layer: the number of its layer; None: it is outside of the layers.
        n_layers: the number of layers in config.json.
        family: the name of the family.
    """
    what = next((text for kind, text in KINDS if kind.search(name)), None)
    if what is None and layer is not None and layer >= n_layers:
        what = (
            f"config.json has num_hidden_layers: {n_layers}, counted from 0, so it "
            "belongs to another model, or lacks layers: download it again"
        )
    if what is None:
        what = (
            "the weights may belong to another model than config.json; "
            "`tensors_only=True` writes tensors under the names they have"
        )
    return UnsupportedModelError(
        f"the checkpoint has {name!r}, which is not a tensor of {family} models: {what}"
    )
