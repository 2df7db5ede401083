"""Read a Hugging Face checkpoint folder: config, shards and tensors, lazily."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import CheckpointError, FormatError
from ..files.json_file import read_json
from ..files.open_files import OpenFiles, WatchedFiles
from ..settings import Kind, checked, shown
from ..types import QuantType
from .decision import DECISION, DECISION_FILES, read_decision_config
from .dense_modules import DENSE_FILES, own_dense_modules, read_dense_modules
from .hub import resolve
from .mistral_format import PARAMS, PIECE_FILES, read_params
from .mlx_config import config_of_original
from .mlx_layout import as_original, is_of_mlx
from .pooling import MODULES, POOLING_CONFIG
from .prequantized import is_dequantized, meant_tensors
from .prequantized.sharded import with_shards
from .shard import one_view_each
from .stored import CheckpointTensor, StoredTensor, as_found
from .weight_files import read_parts, read_weights

__all__ = [
    "READ_BY_NAME",
    "Checkpoint",
    "CheckpointTensor",
    "half_type",
    "read_config",
]

HALVES = ("F16", "BF16")
NESTED = (
    ("text_config",),
    ("llm_config",),
    ("thinker_config", "text_config"),
    ("transformer_layer_config",),
    ("lm_config",),
    ("language_config",),
    ("lfm",),
)
"""Where configs of multimodal and draft models have that of the text model."""
OF_WHOLE = ("architectures",)
"""Keys there that do not count: those of the whole config do."""
TIED = "tie_word_embeddings"
SECTION = Kind("an object or null", lambda value: isinstance(value, dict | None))
QUANTIZATION_FILES = {
    "quantize_config.json": "gptq",
    "quant_config.json": "awq",
    "hf_quant_config.json": "modelopt",
}
"""Files of quantization tools -> the method, for settings that config.json may lack."""

READ_BY_NAME = (
    "model.safetensors.index.json",
    PARAMS,
    *QUANTIZATION_FILES,
    *DENSE_FILES,
    "added_tokens.json",
    "audio_tokenizer/config.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    *DECISION_FILES,
    "generation_config.json",
    "merges.txt",
    MODULES,
    POOLING_CONFIG,
    "spiece.model",
    "tekken.json",
    "tiktoken.model",
    "rwkv_vocab_v20230424.txt",
    "tokenizer.json",
    "tokenizer.jsonl",
    "tokenizer.model",
    *PIECE_FILES,
    "tokenizer_config.json",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "vocab.json",
)
"""Files besides the shards that determine the GGUF file."""

_log = logging.getLogger(__name__)


class Checkpoint:
    """A checkpoint folder, checked for completeness when it is opened.

    Args:
        folder: the path of the folder, or a Hub model, see `hub`.
        needs_config: whether to refuse a folder without config.json.
        symmetric_q4_0: convert symmetric 4-bit weights to Q4_0 without loss.
        affine_q4_1: convert affine 4-bit weights to Q4_1 without loss.
        dense_modules: read the linear maps of a sentence-transformers folder, too; they
            are the first tensors.
        parts: folders inside it whose model.safetensors is read, too, if there is one;
            the names of these tensors start with that of their folder and a slash.

    Attributes:
        folder: the path, in the Hub's cache for a Hub model.
        files: the shards, and the config and tokenizer files; they must not change.
        config: config.json, with the keys of a nested `text_config` at the top level;
            without settings of what MLX has done, see `mlx_config`.
        quantization: the quantization config, empty if no weights are quantized.
        paths: the shards, sorted.
        tensors: by name, in the order of `paths`, sorted within a shard; quantized
            tensors are replaced by their dequantized weights, see `prequantized`.  If
            MLX wrote them, and there must be a config, they have the original's names.
        half_type: the type of the first stored 16-bit tensor with two or more axes, or
            None.

    Raises:
        CheckpointError: a file, shard or tensor is missing or duplicated.
        FormatError: a file is damaged.
        UnsupportedModelError: quantkit does not support this quantization.
        UnsupportedTypeError: `symmetric_q4_0` or `affine_q4_1` would lose precision.

    Example:
        >>> with Checkpoint("SmolLM2-135M") as checkpoint:  # doctest: +SKIP
        ...     checkpoint.tensors["model.norm.weight"].shape
        (576,)
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        needs_config: bool = True,
        symmetric_q4_0: bool = False,
        affine_q4_1: bool = False,
        dense_modules: bool = False,
        parts: Sequence[str] = (),
    ) -> None:
        self.folder = resolve(folder)
        if not self.folder.is_dir():
            raise CheckpointError(
                f"{self.folder} is not a folder; expected a Hugging Face checkpoint: "
                "config.json, *.safetensors and the tokenizer's files"
                + _hint(self.folder)
            )
        watched = WatchedFiles(self.folder / name for name in READ_BY_NAME)
        config = read_config(self.folder)
        if config is None and needs_config:
            raise CheckpointError(
                f"{self.folder} has no config.json; download the complete folder"
            )
        self.config: dict[str, Any] = config or {}
        self.quantization = _quantization(self.folder, self.config)
        self.paths, stored = read_weights(self.folder, self.config)
        dense = own_dense_modules(self.folder, self.config)
        if dense_modules:
            dense = read_dense_modules(self.folder)
        dense += read_parts(self.folder, parts)
        self.files = OpenFiles(one_view_each((*stored.values(), *dense)), watched)
        self.half_type = half_type(stored.values())
        lossless = {symmetric_q4_0: QuantType.Q4_0, affine_q4_1: QuantType.Q4_1}
        meant = meant_tensors(self.quantization, stored, lossless=lossless.get(True))
        self._tensors = {tensor.name: tensor for tensor in meant}
        if is_dequantized(stored):
            self._forget_quantization()
        method = self.quantization.get("quant_method")
        if needs_config and is_of_mlx(self._tensors, method):
            original = as_original(self.config, self._tensors)
            self._tensors = {tensor.name: tensor for tensor in original}
            self.config = config_of_original(self.config, self._tensors)
        added = {tensor.name: as_found(tensor) for tensor in dense}
        self._tensors = added | self._tensors
        if not self._tensors:
            raise FormatError(f"{self.paths[0]} contains no tensors; download it again")
        self.tensors: Mapping[str, StoredTensor] = MappingProxyType(self._tensors)

    def _forget_quantization(self) -> None:
        """Take the weights as they are, and say so, if the config says otherwise."""
        if not self.quantization or self.quantization.get("quant_method") == "mlx":
            return
        _log.warning(
            "%s: config.json has a quantization_config, but all weights have 16 or 32 "
            "bits, as after a merge; they are converted as they are",
            self.folder,
        )
        self.quantization = {}

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the shards; a file stays mapped while arrays refer to it."""
        self._tensors.clear()
        self.files.close()


def read_config(folder: Path) -> dict[str, Any] | None:
    """config.json with the keys of the text model's part at the top level, or None.

    The config of a decision model is in other files, and so is that of Mistral's own
    format.

    That part is also under `text_config`, wherever the file has it.  `architectures` at
    the top level is that of the whole.

    Raises:
        FormatError: the file is damaged.
    """
    if (decision := read_decision_config(folder)) is not None:
        return decision
    path = folder / "config.json"
    config = read_json(path)
    if config is None:
        return read_params(folder)
    inner = _text_config(config, path)
    own = {key: value for key, value in inner.items() if key not in OF_WHOLE}
    merged = {**config, **own}
    merged.pop(DECISION, None)  # of other files, and so not checked here
    if inner:
        merged["text_config"] = inner
    if config.get(TIED) is True:  # in transformers 5 the model's own flag counts
        merged[TIED] = True
    return merged


def _text_config(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The text model's part of a config; empty if it is the whole."""
    for place in NESTED:
        inner: Any = config
        for key in place:
            inner = checked((inner or {}).get(key), SECTION, f"{path}: {key}")
        if inner:
            return dict(inner)
    return {}


def half_type(tensors: Iterable[CheckpointTensor]) -> QuantType | None:
    """The type of the first 16-bit tensor with two or more axes, or None."""
    halves = (t.type for t in tensors if len(t.shape) > 1 and t.dtype in HALVES)
    return next(halves, None)


def _quantization(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The quantization config in config.json, or in the file of a quantization tool."""
    by_mlx = config.get("quantization")
    if isinstance(by_mlx, dict) and {"bits", "group_size"} <= set(by_mlx):
        return {**by_mlx, "quant_method": "mlx"}
    stated = config.get("quantization_config") or {}
    if not isinstance(stated, dict):
        raise FormatError(
            f"{folder / 'config.json'}: quantization_config is {shown(stated)}, not an "
            "object; download it again"
        )
    for file, method in QUANTIZATION_FILES.items():
        said = stated.get("quant_method")
        is_asked = said is None or said == method == "modelopt"  # tells of layers there
        own = read_json(folder / file) if is_asked else None
        if own is not None:
            stated = {"quant_method": method, **stated, **own.get("quantization", own)}
    return with_shards(stated, config) if stated else stated


def _hint(path: Path) -> str:
    """What to do with a file that was given instead of a folder."""
    if path.suffix == ".gguf":
        return "; a GGUF file needs no conversion, and can be quantized as it is"
    if path.suffix == ".safetensors":
        return "; give the folder that contains this file"
    return ""
