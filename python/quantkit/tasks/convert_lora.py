"""Convert PEFT LoRA adapters to GGUF files that llama.cpp loads with a model.

Source of the rules: convert_lora_to_gguf.py of llama.cpp, build 11434.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.folder import Checkpoint, half_type, read_config
from ..checkpoint.lazy import LazyTensor, LowRank, transposed
from ..checkpoint.lazy_functions import times
from ..checkpoint.model_card import general_fields
from ..checkpoint.peft_settings import ADVICE, PeftSettings
from ..checkpoint.shard import one_view_each, read_shard
from ..errors import (
    CheckpointError,
    OptionError,
    QuantkitError,
    ShapeError,
    UnsupportedModelError,
)
from ..files.json_file import read_json
from ..files.open_files import OpenFiles, WatchedFiles
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
from ..gguf.opener import SourceOpener
from ..gguf.source import SourceTensor
from ..models import settled
from ..models.family import Family
from ..notebook import shows_progress
from ..output.writing import write_model
from ..parameters import check_callbacks
from ..paths import StrPath, as_path
from ..progress import Progress
from ..sources.checkpoint import OUTTYPES, matrix_type, once_each, typed_tensor
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

    GGUF readers multiply each product by `alpha` / rank, where `alpha` is one number of
    the file.  It is the one of most modules; the other modules' factors b are
    multiplied by the rest of their scale, in f32.  llama.cpp's converter ignores all
    settings but `lora_alpha`.

    Args:
        folder: contains adapter_config.json and adapter_model.safetensors.
        base: folder of the base model; config.json is read, and if there are weights,
            the names and shapes of its tensors.
        outtype: type of the matrices, one of `OUTTYPES`.

    Attributes:
        paths: the files from which tensors are read.
        type: the type of matrices.
        alpha: the number in the file.
        tensors: by GGUF name, in the converter's order and types.

    Raises:
        CheckpointError: a file or a tensor is missing, or has another rank than stated.
        FormatError: a file is damaged.
        ShapeError: a product does not fit the base model's tensor.
        UnsupportedModelError: the base model's family is not known, or a GGUF adapter
            cannot contain a tensor or a setting of this adapter.
    """

    def __init__(
        self, folder: str | Path, base: str | Path, outtype: str = "f32"
    ) -> None:
        self.folder, base = Path(folder), Path(base)
        watched = WatchedFiles([self.folder / SETTINGS, base / "config.json"])
        path = self.folder / SETTINGS
        settings = _required(read_json(path), path, "PEFT adapter")
        config = _required(read_config(base), base / "config.json", "base model")
        self.settings = PeftSettings(settings, path)
        self._family, complete = settled(config)
        path = self.folder / WEIGHTS
        if not path.is_file():
            raise CheckpointError(
                f"{self.folder} has no {WEIGHTS}; pickled adapters can run any code "
                "when opened: save it again with safe_serialization=True"
            )
        self.paths = (path,)
        stored = {tensor.name: tensor for tensor in read_shard(path)}
        self.files = OpenFiles(one_view_each(stored.values()), watched)
        self.type = matrix_type(outtype, half_type(stored.values()))
        self.opener = SourceOpener.of(
            *(AdapterSource, self.files), folder=folder, base=base, outtype=outtype
        )
        products = self._scaled(_products(stored))
        mapped = list(self._family.mapped(complete, self._family.oriented(products)))
        _check_shapes(mapped, _base_shapes(base, self._family, complete))
        self.tensors: Mapping[str, SourceTensor] = {
            name: typed_tensor(name, tensor, self.type).opened_by(self.opener)
            for name, tensor in once_each(part for p in mapped for part in _parts(*p))
        }

    def _scaled(self, products: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
        """The products, all with the scale `alpha` / rank."""
        alphas = {
            name: self.settings.alpha(name.removesuffix(".weight"), tensor.rank)
            for name, tensor in products.items()
            if isinstance(tensor, LowRank)
        }
        known = Counter(alpha for alpha in alphas.values() if alpha)
        if alphas and not known:
            raise UnsupportedModelError(
                f"{self.folder / SETTINGS} has lora_alpha: 0, so the adapter has no "
                "effect; GGUF readers would take 0 as a scale of 1"
            )
        self.alpha = known.most_common(1)[0][0] if known else self.settings.alpha("", 1)
        if len(set(alphas.values())) > 1:
            _log.info(
                "modules have different scales: the file's alpha is %g, and lora_b of "
                "%d modules contains the rest of their scale",
                *(self.alpha, sum(alpha != self.alpha for alpha in alphas.values())),
            )
        return {
            name: times(tensor, alphas[name] / self.alpha) if name in alphas else tensor
            for name, tensor in products.items()
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
            UnsupportedModelError: the invocation string has no token ids.
        """
        fields = {
            "general.architecture": string(self._family.name),
            "general.type": string("adapter"),
            "adapter.type": string("lora"),
            **general_fields(self.folder, -self._n_weights, ""),
            "adapter.lora.alpha": float32(self.alpha),
        }
        if tokens := self.settings.invocation_tokens:
            fields["adapter.alora.invocation_tokens"] = array(ValueType.UINT32, tokens)
        fields["general.quantization_version"] = uint32(QUANTIZATION_VERSION)
        return fields


@shows_progress
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
        base: folder of the base model: config.json, and optionally the weights, whose
            shapes are compared.
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
    check_callbacks(progress=progress)
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


def _required(content: dict[str, Any] | None, path: Path, what: str) -> dict[str, Any]:
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
        elif base.endswith(".base_layer.weight"):
            _log.warning("%r is the base model's own weight and is left out", name)
        elif base.endswith(".weight") and ("_layernorm" in base or ".norm" in base):
            _log.warning("%r is written, but llama.cpp leaves norms out", name)
            made[base] = tensor
        else:
            raise UnsupportedModelError(
                f"the adapter contains {name!r}, which is neither lora_A nor lora_B; "
                "GGUF adapters cannot replace whole weights such as embeddings of new "
                f"tokens, or biases: {ADVICE}"
            )
    for weight, parts in halves.items():
        if len(parts) < 2:
            missing = "lora_B" if "a" in parts else "lora_A"
            raise CheckpointError(f"the adapter has no {missing} for {weight!r}")
        made[weight] = _product(weight, parts["a"], parts["b"])
    return made


def _product(weight: str, a: LazyTensor, b: LazyTensor) -> LowRank:
    """The product of two factors: a [rank, columns], b [rows, rank]."""
    is_pair = len(a.shape) == len(b.shape) == 2 and 0 not in (*a.shape, *b.shape)
    if not is_pair or a.shape[0] != b.shape[1]:
        raise ShapeError(
            f"the adapter's factors for {weight!r} have shapes {list(a.shape)} (A) and "
            f"{list(b.shape)} (B); expected [rank, columns] and [rows, rank]"
        )
    return LowRank(a, b)


def _base_shapes(
    base: Path, family: Family, config: dict[str, Any]
) -> dict[str, tuple[int, ...]] | None:
    """The shapes of the base model's GGUF tensors, if its weights can be read."""
    if not any(base.glob("*.safetensors")):
        return None
    try:
        with Checkpoint(base) as checkpoint:
            mapped = family.mapped(config, checkpoint.tensors)
            return {name: tensor.shape for name, tensor in mapped}
    except QuantkitError as error:
        _log.warning("shapes are not compared with the base model's: %s", error)
        return None


def _check_shapes(
    mapped: list[tuple[str, LazyTensor]], known: dict[str, tuple[int, ...]] | None
) -> None:
    """Refuse an adapter that changes tensors that the base model does not have."""
    for name, tensor in mapped if known is not None else ():
        is_flipped = isinstance(tensor, LowRank) and "token_embd.weight" in name
        shape = tensor.shape[::-1] if is_flipped else tensor.shape
        if known is not None and known.get(name) != shape:
            found = f"has shape {list(known[name])}" if name in known else "is missing"
            raise ShapeError(
                f"the adapter changes {name} of shape {list(shape)}, which {found} in "
                "the base model; use the base model that the adapter was made for"
            )


def _parts(name: str, tensor: LazyTensor) -> Iterator[tuple[str, LazyTensor]]:
    """The tensors to store for one: both factors, if it is a product."""
    if not isinstance(tensor, LowRank):
        yield name, tensor
        return
    # mergekit-extract-lora swaps the two factors of an embedding
    a = transposed(tensor.a) if "token_embd.weight" in name else tensor.a
    yield f"{name}.lora_a", a
    yield f"{name}.lora_b", tensor.b
