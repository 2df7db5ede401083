"""Convert PEFT LoRA adapters to GGUF files that llama.cpp loads with a model.

Source of the rules: convert_lora_to_gguf.py of llama.cpp, build 11434.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.folder import half_type, read_shard
from ..checkpoint.lazy import LazyTensor, LowRank, transposed
from ..checkpoint.model_card import general_fields
from ..errors import CheckpointError, OptionError, UnsupportedModelError
from ..files.json_file import read_json
from ..gguf.keys import (
    QUANTIZATION_VERSION,
    Field,
    ValueType,
    array,
    float32,
    string,
    uint32,
)
from ..gguf.layout import TensorSpec
from ..gguf.source import SourceOpener, SourceTensor
from ..models import family_for_config
from ..output.writing import write_model
from ..paths import StrPath, as_path
from ..progress import Progress
from ..sources.checkpoint import OUTTYPES, matrix_type, typed_tensor
from .convert import ConvertReport

__all__ = ["AdapterSource", "convert_lora"]

WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"
# Endings of names in the adapter -> the part of the product.
PARTS = {
    ".lora_A.weight": "a",
    ".lora_B.weight": "b",
    ".lora_embedding_A": "a",
    ".lora_embedding_B": "b",
}
PREFIX = "base_model.model."

_log = logging.getLogger(__name__)


class AdapterSource:
    """A PEFT adapter folder, converted as llama.cpp's converter does.

    Args:
        folder: contains adapter_config.json and adapter_model.safetensors.
        base: folder of the base model; only config.json is read.
        outtype: type of the matrices, one of `OUTTYPES`.

    Attributes:
        paths: the files from which tensors are read.
        type: the type of matrices.
        tensors: by GGUF name, in the converter's order and types.

    Raises:
        CheckpointError: a file or a tensor is missing.
        FormatError: a file is damaged.
        UnsupportedModelError: the base model's family is not known, or a GGUF adapter
            cannot contain a tensor of this adapter.
    """

    def __init__(
        self, folder: str | Path, base: str | Path, outtype: str = "f32"
    ) -> None:
        self.folder = Path(folder)
        self.settings = _required_json(self.folder / SETTINGS, "PEFT adapter")
        config = _required_json(Path(base) / "config.json", "base model")
        self._family = family_for_config(config)
        path = self.folder / WEIGHTS
        if not path.is_file():
            raise CheckpointError(
                f"{self.folder} has no {WEIGHTS}; pickled adapters can run any code "
                "when opened: save it again with safe_serialization=True"
            )
        self.paths = (path,)
        stored = {tensor.name: tensor for tensor in read_shard(path)}
        self.type = matrix_type(outtype, half_type(stored.values()))
        complete = self._family.complete(config)
        self.opener = SourceOpener.of(
            *(AdapterSource, self.paths), folder=folder, base=base, outtype=outtype
        )
        self.tensors: Mapping[str, SourceTensor] = {
            name: typed_tensor(name, tensor, self.type).opened_by(self.opener)
            for mapped in self._family.mapped(complete, _products(stored))
            for name, tensor in _parts(*mapped)
        }

    @property
    def _n_weights(self) -> int:
        """Weights of the products; negative numbers mark adapters in model names."""
        total = 0
        for name, tensor in self.tensors.items():
            if name.endswith(".lora_b"):
                columns = self.tensors[f"{name[:-1]}a"].n_cols
                total += tensor.n_weights // tensor.n_cols * columns
            elif not name.endswith(".lora_a"):
                total += tensor.n_weights
        return total

    @property
    def metadata(self) -> Mapping[str, Field]:
        """Typed metadata by GGUF key, in llama.cpp's order.

        Raises:
            CheckpointError: adapter_config.json lacks `lora_alpha`.
            UnsupportedModelError: the invocation string has no token ids.
        """
        alpha = self.settings.get("lora_alpha")
        if alpha is None:
            raise CheckpointError(f"{self.folder / SETTINGS} lacks 'lora_alpha'")
        fields = {
            "general.architecture": string(self._family.name),
            "general.type": string("adapter"),
            "adapter.type": string("lora"),
            **general_fields(self.folder, -self._n_weights, ""),
            "adapter.lora.alpha": float32(alpha),
        }
        tokens = self.settings.get("alora_invocation_tokens")
        if self.settings.get("invocation_string") and not tokens:
            raise UnsupportedModelError(
                f"{self.folder / SETTINGS} has an invocation_string but no "
                "alora_invocation_tokens; add the ids of its tokens there"
            )
        if tokens:
            fields["adapter.alora.invocation_tokens"] = array(ValueType.UINT32, tokens)
        fields["general.quantization_version"] = uint32(QUANTIZATION_VERSION)
        return fields


def convert_lora(
    adapter: StrPath,
    base: StrPath,
    out: StrPath,
    outtype: str = "f32",
    *,
    progress: Progress | None = None,
) -> ConvertReport:
    """Convert a PEFT LoRA adapter to a GGUF file.

    Args:
        adapter: folder with adapter_config.json and adapter_model.safetensors.
        base: folder of the base model; only config.json is read.
        out: the file to write; it appears under this name when it is complete.
        outtype: type of the matrices, one of `OUTTYPES`.
        progress: called with the bytes read so far.

    Raises:
        QuantkitError: the adapter cannot be read, or the file cannot be written.
    """
    if str(outtype).lower() not in OUTTYPES:
        raise OptionError(
            f"`outtype` is {outtype!r}; expected one of {', '.join(OUTTYPES)}"
        )
    path = as_path(out, "out")
    folders = as_path(adapter, "adapter"), as_path(base, "base")
    source = AdapterSource(*folders, outtype)
    write_model(
        source,
        {name: tensor.type for name, tensor in source.tensors.items()},
        path,
        metadata=source.metadata,
        progress=progress,
    )
    specs = [TensorSpec(t.name, t.shape, t.type) for t in source.tensors.values()]
    return ConvertReport((path,), tuple(specs), path.stat().st_size, is_dry_run=False)


def _required_json(path: Path, what: str) -> dict[str, Any]:
    content = read_json(path)
    if content is None:
        raise CheckpointError(f"the folder of the {what} has no {path.name}: {path}")
    return content


def _products(stored: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """The adapter's tensors by the name of the weight that each changes."""
    halves: dict[str, dict[str, LazyTensor]] = {}
    made: dict[str, LazyTensor] = {}
    for name, tensor in stored.items():
        base = name.replace(PREFIX, "")
        ending = next((end for end in PARTS if base.endswith(end)), None)
        if ending is not None:
            weight = f"{base.removesuffix(ending)}.weight"
            halves.setdefault(weight, {})[PARTS[ending]] = tensor
        elif ".base_layer.weight" in base:
            _log.warning("%r is the base model's own weight; skipping it", name)
        elif "_layernorm" in base or ".norm" in base:
            made[base] = tensor
        else:
            raise UnsupportedModelError(
                f"the adapter contains {name!r}, which is neither lora_A nor lora_B; "
                "GGUF adapters cannot replace whole weights such as embeddings of new "
                "tokens: merge the adapter into the model, and convert the model"
            )
    for weight, parts in halves.items():
        if len(parts) < 2:
            missing = "lora_B" if "a" in parts else "lora_A"
            raise CheckpointError(f"the adapter has no {missing} for {weight!r}")
        made[weight] = LowRank(parts["a"], parts["b"])
    return made


def _parts(name: str, tensor: LazyTensor) -> Iterator[tuple[str, LazyTensor]]:
    """The tensors to store for one: both factors, if it is a product."""
    if not isinstance(tensor, LowRank):
        yield name, tensor
        return
    # mergekit-extract-lora swaps the two factors of an embedding
    a = transposed(tensor.a) if "token_embd.weight" in name else tensor.a
    yield f"{name}.lora_a", a
    yield f"{name}.lora_b", tensor.b
