"""The results of transformers and llama.cpp for a case; needs both, and torch.

QUANTKIT_LLAMACPP_SOURCE is the folder of llama.cpp's source that holds
convert_hf_to_gguf.py.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file

from quantkit.gguf.reader import GGUFFile

from .cases import Case
from .checkpoints import target_of, weights, write_checkpoint
from .describe import described_metadata, described_tensors

__all__ = [
    "describe_gguf",
    "llamacpp_gguf",
    "llamacpp_projector",
    "projector_classes",
    "transformers_checkpoint",
]


def transformers_checkpoint(
    case: Case, folder: Path, tokens: NDArray[np.int64]
) -> tuple[dict[str, Any], dict[str, tuple[int, ...]], NDArray[np.float32] | None]:
    """What transformers writes and computes for a case.

    Returns:
        config.json; the shapes of the tensors in the file; logits [n, vocabulary], or
        the hidden states [n, width] of encoders; None of a case that is not run.
    """
    import torch
    import transformers

    cls = getattr(transformers, case.hf_class)
    config = cls.config_class(**case.config)
    config.architectures = [case.hf_class]
    model = cls(config).float()
    model.save_pretrained(folder)
    shapes = {
        name: array.shape
        for path in sorted(folder.glob("*.safetensors"))
        for name, array in load_file(path).items()
    }
    written = json.loads((folder / "config.json").read_text())
    if not case.runs:
        return written, shapes, None
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    write_checkpoint(folder, written, case.prepare(weights(shapes)))
    model = cls.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    if case.adapt is not None:
        case.adapt(model)
    with torch.no_grad():
        given = model(torch.tensor(tokens)[None])
        states = given.logits if case.predicts_text else given.last_hidden_state
    return written, shapes, states[0].float().numpy()


def llamacpp_gguf(
    folder: Path,
    out: Path,
    outtype: str,
    *,
    is_raw: bool = False,
    dense_modules: bool = False,
) -> Path:
    """The file that llama.cpp's converter makes of a checkpoint without a tokenizer."""
    _use_source(Path(os.environ["QUANTKIT_LLAMACPP_SOURCE"]))
    import gguf
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

    types = {
        "f32": gguf.LlamaFileType.ALL_F32,
        "f16": gguf.LlamaFileType.MOSTLY_F16,
        "bf16": gguf.LlamaFileType.MOSTLY_BF16,
        "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
        "auto": gguf.LlamaFileType.GUESSED,
    }
    is_native = (folder / "params.json").is_file()
    hparams = ModelBase.load_hparams(folder, is_native)
    if is_raw:
        hparams = json.loads((folder / "config.json").read_text())
    _write_vocabulary(folder, hparams)
    if is_native:
        cls = _native_class(folder)
    else:
        cls = get_model_class(get_model_architecture(hparams, ModelType.TEXT))
    if cls.supports_mtp_export and cls.__name__.startswith(("Qwen", "MiniCPMV")):
        # as with its option --no-nextn; otherwise it stops without such layers
        is_none = hparams.get("num_nextn_predict_layers") == 0
        cls.no_mtp = not is_none and not _predicts_further(folder)
    given = {"hparams": hparams, "target_model_dir": target_of(folder)}
    if dense_modules:
        given["sentence_transformers_dense_modules"] = True
    model = cls(folder, types[outtype], out, **given)
    for part in {model, getattr(model, "impl", model)}:  # Mistral 3 has another inside
        part.set_vocab = lambda: None
    if cls.__name__ in REPAIRS:
        REPAIRS[cls.__name__](model)
    model.write()
    return out


def _native_class(folder: Path) -> Any:
    """The converter of Mistral's own format, whose weights have another file name."""
    from conversion import base
    from conversion.mistral import MistralModel, MistralMoeModel

    base._mistral_common_installed = True  # only the vocabulary needs it
    weights = folder / "consolidated.safetensors"
    if not weights.exists():
        weights.hardlink_to(folder / "model.safetensors")
    if "moe" not in json.loads((folder / "params.json").read_text()):
        return MistralModel
    (folder / "config.json").write_text("{}")  # build 11434 stops without one
    return MistralMoeModel


def llamacpp_projector(
    folder: Path, out: Path, outtype: str, *, asserts: bool = True
) -> Path:
    """The file of the vision encoder that its converter makes with `--mmproj`."""
    _use_source(Path(os.environ["QUANTKIT_LLAMACPP_SOURCE"]))
    import gguf
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

    types = {
        "f32": gguf.LlamaFileType.ALL_F32,
        "f16": gguf.LlamaFileType.MOSTLY_F16,
        "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    }
    is_native = (folder / "params.json").is_file()
    hparams = ModelBase.load_hparams(folder, is_native)
    if is_native:
        _native_class(folder)
        from conversion.pixtral import PixtralModel as cls
    else:
        kind = get_model_architecture(hparams, ModelType.MMPROJ)
        cls = get_model_class(kind, mmproj=True)
    if cls.__name__ == "Qwen3OmniMmprojModel":
        _rename(cls, "thinker.visual.", "visual.")
    if cls.__name__ == "Gemma3nVisionAudioModel":
        norm = "subsample_conv_projection.{}.norm"
        for number in range(2):
            wrong = f"model.audio_tower.{norm.format(f'conv_{number}')}"
            _rename(cls, wrong, f"conformer.{norm.format(f'layer{number}')}")
    if cls.__name__ == "NemotronNanoV2VLModel":
        for key, value in (hparams.get("vision_config") or {}).items():
            name = key.replace("hidden_layers", "layers").replace("attention_h", "h")
            setattr(cls, f"_vit_{name}", value)  # it knows only the largest size
    if not asserts:
        module = sys.modules[cls.__module__]
        source = Path(str(module.__file__)).read_text()
        exec(compile(source, str(module.__file__), "exec", optimize=1), vars(module))
        cls = get_model_class(kind, mmproj=True)
    cls(folder, types[outtype], out, hparams=hparams).write()
    return out


def _rename(cls: Any, wrong: str, right: str) -> None:
    """Give its converter's class tensors with names that it knows."""
    above = cls.modify_tensors

    def modify_tensors(self: Any, data: Any, name: str, bid: int | None) -> Any:
        return above(self, data, name.replace(wrong, right), bid)

    cls.modify_tensors = modify_tensors


def projector_classes() -> set[str]:
    """The classes whose encoders its converter registers."""
    _use_source(Path(os.environ["QUANTKIT_LLAMACPP_SOURCE"]))
    from conversion import MMPROJ_MODEL_MAP

    return set(MMPROJ_MODEL_MAP)


def _use_source(source: Path) -> None:
    """Make imports find llama.cpp's modules, and its own `gguf`, not that of PyPI."""
    if str(source) in sys.path:
        return
    for name in [name for name in sys.modules if name.split(".")[0] == "gguf"]:
        del sys.modules[name]
    sys.path[:0] = [str(source / "gguf-py"), str(source)]


def _end_recursion(model: Any) -> None:
    """Take names that are GGUF's already as they are.

    In build 11434 the converter of Baichuan passes them to itself without end.
    """
    convert = model.modify_tensors

    def modify_tensors(data: Any, name: str, layer: int | None) -> Any:
        if name.startswith(("blk.", "token_embd.", "output")):
            return [(name, data)]
        return convert(data, name, layer)

    model.modify_tensors = modify_tensors


def _pass_on_norms(model: Any) -> None:
    """Give the tensor that the norms of a layer's heads become.

    In build 11434 the converter of StableLM makes it and drops it.
    """
    convert, stack = model.modify_tensors, model._stack_qk_norm
    made: list[tuple[str, Any]] = []

    def modify_tensors(data: Any, name: str, layer: int | None) -> Any:
        yield from convert(data, name, layer)
        yield from made
        made.clear()

    model.modify_tensors = modify_tensors
    model._stack_qk_norm = lambda *given: made.extend(stack(*given))


def _leave_masks_out(model: Any) -> None:
    """Skip the masks of published GPT-2 checkpoints.

    In build 11434 the converter knows them and stops nevertheless.
    """
    convert = model.modify_tensors

    def modify_tensors(data: Any, name: str, layer: int | None) -> Any:
        return () if name.endswith(".attn.bias") else convert(data, name, layer)

    model.modify_tensors = modify_tensors


def _keep_routers(model: Any) -> None:
    """Write the routers of all layers as F32.

    In build 11434 the converter of Nemotron-H takes the number of the layer that
    predicts further tokens for another.
    """
    import gguf

    forced = model.tensor_force_quant

    def tensor_force_quant(name: str, new: str, layer: int | None, axes: int) -> Any:
        if new.endswith(".ffn_gate_inp.weight"):
            return gguf.GGMLQuantizationType.F32
        return forced(name, new, layer, axes)

    model.tensor_force_quant = tensor_force_quant


def _forget_shifts(model: Any) -> None:
    """Forget the token shifts of an earlier conversion.

    In build 11434 the converters of RWKV keep them for all models of a process.
    """
    model.lerp_weights = {}


def _permute_rotated(model: Any) -> None:
    """Permute only the rows of a head that rotate.

    In build 11434 the converter of Bamba permutes whole heads, of which readers then
    rotate other rows than the model does.
    """
    rotated, convert = model.hparams.get("attn_rotary_emb"), model.modify_tensors
    if not rotated:
        return
    size = model.hparams["hidden_size"] // model.hparams["num_attention_heads"]

    def order(n_rows: int, first: int) -> NDArray[np.intp]:
        rows = np.arange(n_rows).reshape(-1, size)
        halves = rows[:, :first].reshape(len(rows), 2, -1).swapaxes(1, 2)
        return np.concatenate(
            [halves.reshape(len(rows), -1), rows[:, first:]], 1
        ).ravel()

    def modify_tensors(data: Any, name: str, layer: int | None) -> Any:
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            wanted, made = (order(len(data), first) for first in (rotated, size))
            data = data[wanted[np.argsort(made)]]
        return convert(data, name, layer)

    model.modify_tensors = modify_tensors


def _shuffle_any_heads(model: Any) -> None:
    """Put heads into another order, however many there are.

    In build 11434 the converter of PLaMo knows only the sizes of PLaMo 13B.
    """
    heads, shared = (model.hparams[k] for k in ("num_attention_heads", "n_shared_head"))
    n_keys = heads // shared

    def shuffle_rows(data: Any) -> Any:
        parts = data.reshape(shared, n_keys, -1, data.shape[1])
        return parts.permute(1, 0, 2, 3).reshape(data.shape)

    def shuffle_columns(data: Any) -> Any:
        parts = data.reshape(data.shape[0], shared, n_keys, -1)
        return parts.permute(0, 2, 1, 3).reshape(data.shape)

    model.shuffle_attn_q_weight = shuffle_rows
    model.shuffle_attn_output_weight = shuffle_columns


def _count_all_heads(model: Any) -> None:
    """Write the number of heads for all layers.

    Build 11434 writes 0 for recurrent layers.  Its readers find out by the first layer
    how much of a head rotates, and never end if that is nothing.
    """
    write = model.gguf_writer.add_head_count
    model.gguf_writer.add_head_count = lambda counts: write([max(counts)] * len(counts))


def _suppress_no_tokens(model: Any) -> None:
    """Do not ask the tokenizer which tokens have no embedding: cases have none."""
    model._get_suppress_tokens = lambda: None


def _read_slopes(model: Any) -> None:
    """Give ALiBi's slopes as numbers.

    In build 11434 the converter of Jais asks for the value of a lazy tensor.
    """
    from conversion.base import LazyTorchTensor

    convert = model.modify_tensors

    def modify_tensors(data: Any, name: str, layer: int | None) -> Any:
        if name.endswith("relative_pe.slopes"):
            data = LazyTorchTensor.to_eager(data)
        return convert(data, name, layer)

    model.modify_tensors = modify_tensors


def _keep_heads_apart(model: Any) -> None:
    """Permute the norm of each head, of any number of heads.

    In build 11434 the converter of Chameleon takes that of the first head for all, and
    the size of heads from the number of key heads.
    """

    def order(data: Any, n_heads: int, width: int) -> Any:
        return data.reshape(n_heads, 2, -1).transpose(1, 2).reshape(n_heads, -1)

    type(model)._reverse_hf_permute = staticmethod(order)


# What the converter cannot do for its own slips or without a tokenizer, by its class.
REPAIRS = {
    "ARwkv7Model": _forget_shifts,
    "BaichuanModel": _end_recursion,
    "ChameleonModel": _keep_heads_apart,
    "GPT2Model": _leave_masks_out,
    "JaisModel": _read_slopes,
    "GraniteHybridModel": _permute_rotated,
    "MiniMaxText01Model": _suppress_no_tokens,
    "NemotronHModel": _keep_routers,
    "Plamo2Model": _count_all_heads,
    "PlamoModel": _shuffle_any_heads,
    "RWKV6Qwen2Model": _forget_shifts,
    "Rwkv6Model": _forget_shifts,
    "Rwkv7Model": _forget_shifts,
    "StableLMModel": _pass_on_norms,
}


def describe_gguf(path: Path) -> dict[str, Any]:
    """Metadata and tensors of a file; see describe.py."""
    with GGUFFile(path) as file:
        return {
            "metadata": described_metadata(file.metadata),
            "tensors": described_tensors(file.tensors),
        }


def _predicts_further(folder: Path) -> bool:
    """Whether a checkpoint has layers that predict further tokens."""
    with safe_open(folder / "model.safetensors", "np") as file:
        names = list(file.keys())
    return any("mtp." in name or name.endswith(".eh_proj.weight") for name in names)


def _write_vocabulary(folder: Path, hparams: dict[str, Any]) -> None:
    """As many tokens as the model has: the converter of Gemma 3 counts them."""
    size = {**hparams, **hparams.get("text_config", {})}.get("vocab_size", 0)
    vocabulary = {str(number): number for number in range(size)}
    tokenizer = {
        "model": {"type": "WordPiece", "vocab": vocabulary},
        "added_tokens": [],
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
