"""The encoder of sounds of MiMo V2.5: it gives codes, whose embeddings are joined."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped
from ..errors import CheckpointError
from ..gguf.keys import Field, ValueType, array, float32, uint32
from ..types import QuantType
from .audio import AUDIO_EPSILON, MEL_BINS, AudioEncoder
from .encoder import ATTENTION, Named, Settings
from .mimo_tables import CODES, OF_TOKENIZER, codebooks
from .section import MAX_SIZE
from .whisper import Whisper

__all__ = ["MimoAudio"]

LOCAL = "audio_encoder.input_local_transformer"
OF_LOCAL = {
    **ATTENTION,
    "self_attn.o_proj": "attn_out",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "ln1",
    "post_attention_layernorm": "ln2",
}
LOCAL_LAYER = re.compile(
    r"audio_encoder\.input_local_transformer\.layers\.(\d+)\.(.+)\.(weight|bias)"
)
WINDOW = "encoder_attn_window_size"
TABLES = ("a.rvq.codebook.weight", "mm.a.code_embd.weight")
CONVOLUTIONS = ("a.conv1d.", "a.downsample.conv.")


class MimoAudio(AudioEncoder):
    """Whisper's layers, codebooks, layers over groups of codes, and two matrices."""

    projector = "mimo_audio"
    starts = ("encoder.", "audio_encoder.", CODES)
    renames = ((OF_TOKENIZER, ""),)
    skipped = ("._codebook.cluster_size", "._codebook.embed_avg", "._codebook.inited")
    layer = re.compile(r"encoder\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        "encoder.conv1": "a.conv1d.1",
        "encoder.conv2": "a.conv1d.2",
        "encoder.layer_norm": "a.post_ln",
        "encoder.down_sample_layer.0": "a.downsample.conv",
        "encoder.down_sample_norm": "a.downsample.norm",
        "encoder.codebook": "a.rvq.codebook",
        "speech_embeddings": "mm.a.code_embd",
        f"{LOCAL}.norm": "mm.a.local_norm",
        "audio_encoder.projection.mlp.0": "mm.a.mlp.1",
        "audio_encoder.projection.mlp.2": "mm.a.mlp.2",
    }
    inner = Whisper.inner

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has.

        Raises:
            CheckpointError: a setting or a codebook is missing.
        """
        audio, whole = settings.audio, settings.whole.inside("audio_config")
        bins = [book.shape[0] for book in codebooks(settings.stored)]
        windows = audio.integers(WINDOW, -1, MAX_SIZE)
        if not windows or windows[0] < 1:
            raise CheckpointError(
                f"{audio.where}: {WINDOW} is {windows}; expected a list whose first "
                "number is the size of windows"
            )
        epsilon = audio.epsilon("layer_norm_eps", default=1e-5)
        return {
            MEL_BINS: uint32(audio.size("n_mels")),
            AUDIO_EPSILON: float32(epsilon),
            "audio.rvq.num_quantizers": uint32(len(bins)),
            "audio.rvq.codebook_size": array(ValueType.INT32, bins),
            "audio.wa_pattern_mode": array(ValueType.INT32, self._windows(settings)),
            "audio.window_size": uint32(windows[0]),
            "audio.local_block_count": uint32(_n_local(settings)),
            "audio.local_group_size": uint32(whole.size("group_size")),
        }

    def _windows(self, settings: Settings) -> list[int]:
        """For each layer, 0 if it has windows, and -1 if it hears everything."""
        period = settings.audio.size("swa_per_block", default=1)
        if not settings.audio.flag("hybrid_attention"):
            period = 1
        n_layers = self.n_layers(settings)
        return [-1 if i % period == period - 1 else 0 for i in range(n_layers)]

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; readers add biases to columns."""
        if source.endswith(("conv1.bias", "conv2.bias")):
            tensor = reshaped(tensor, (*tensor.shape, 1))
        yield self.gguf_name(source, settings), tensor

    def gguf_name(self, source: str, settings: Settings) -> str:
        """The GGUF name of a checkpoint tensor."""
        match = LOCAL_LAYER.fullmatch(source)
        if match is None or match[2] not in OF_LOCAL:
            return super().gguf_name(source, settings)
        if int(match[1]) >= _n_local(settings):
            return super().gguf_name(source, settings)
        return f"mm.a.local_blk.{match[1]}.{OF_LOCAL[match[2]]}.{match[3]}"

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor; convolutions and tables of codes are F32."""
        if name in TABLES or name.startswith(CONVOLUTIONS):
            return QuantType.F32
        return super().type_of(name, shape, matrices)

    def needed(self, settings: Settings) -> list[str]:
        """The GGUF names of the tensors that a model must have, with local layers'."""
        return [
            *super().needed(settings),
            *(
                f"mm.a.local_blk.{number}.{part}"
                for number in range(_n_local(settings))
                for part in OF_LOCAL.values()
            ),
        ]


def _n_local(settings: Settings) -> int:
    """The number of layers over groups of codes."""
    return settings.whole.inside("audio_config").layers("input_local_layers")
