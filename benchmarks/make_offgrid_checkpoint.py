"""A Llama of the same function with other weights, which are on no quantization grid.

    python benchmarks/make_offgrid_checkpoint.py SmolLM2-135M smollm2-twin [--seed 7]

A checkpoint that was restored from a quantized file has few values in each block, so
what quantizing it costs says little.  This changes the basis in which the model
computes.  The residual stream is rotated, and so are the values in each head; every
matrix that writes or reads them is multiplied by the rotation.  A rotation turns random
pairs of dimensions by random angles, so columns of outliers, which real weights have,
stay few.

A norm does not commute with a rotation, but for its root mean square.  Its weight moves
into the matrices that read its result; what is left is a weight n' that keeps the
columns of these matrices as large as they were on average, n'^2 = (R * R) n^2.  So the
head has other weights than the embedding, even if they were tied.

The result is BF16, and the predictions differ by that rounding alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

F64 = NDArray[np.float64]
Weights = dict[str, F64]

EMBEDDING, HEAD, LAST_NORM = (
    *("model.embed_tokens.weight", "lm_head.weight"),
    "model.norm.weight",
)
READERS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}
"""In a layer, by norm, the matrices that read its result."""


def main() -> None:
    """Write the checkpoint."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="folder of a Llama, one safetensors")
    parser.add_argument("out", type=Path, help="the folder to make")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    config = json.loads((args.model / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") != "llama":
        parser.error(f"{args.model} is a {config.get('model_type')}; expected a llama")
    stored = load_file(args.model / "model.safetensors")
    if any(name.endswith(".bias") for name in stored):
        parser.error(f"{args.model} has biases, which this does not rotate")
    weights = {name: values.astype(np.float64) for name, values in stored.items()}
    rotated(weights, config, np.random.default_rng(args.seed))
    args.out.mkdir(parents=True)
    for path in args.model.iterdir():
        if path.is_file() and path.suffix != ".safetensors":
            shutil.copy(path, args.out)
    config |= {"tie_word_embeddings": False, "torch_dtype": "bfloat16"}
    (args.out / "config.json").write_text(json.dumps(config, indent=2))
    rounded = {
        name: values.astype(ml_dtypes.bfloat16) for name, values in weights.items()
    }
    save_file(rounded, args.out / "model.safetensors", {"format": "pt"})


def rotated(
    weights: Weights, config: dict[str, int], random: np.random.Generator
) -> None:
    """Rotate the residual stream and the values of each head, in place."""
    turn = rotation(config["hidden_size"], random)
    weights.setdefault(HEAD, weights[EMBEDDING])
    weights[EMBEDDING] = weights[EMBEDDING] @ turn.T
    turn_readers(weights, LAST_NORM, [HEAD], turn)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        for norm, readers in READERS.items():
            names = [f"{layer}.{name}.weight" for name in readers]
            turn_readers(weights, f"{layer}.{norm}.weight", names, turn)
        turn_values(weights, f"{layer}.self_attn", config, random)
        for writer in ("self_attn.o_proj", "mlp.down_proj"):
            name = f"{layer}.{writer}.weight"
            weights[name] = turn @ weights[name]


def rotation(n: int, random: np.random.Generator) -> F64:
    """[n, n]: pairs of dimensions at random, each turned by a random angle."""
    first, second = random.permutation(n)[: n // 2 * 2].reshape(2, -1)
    angle = random.uniform(0, 2 * np.pi, len(first))
    turn = np.eye(n)
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[second, first] = np.sin(angle)
    turn[first, second] = -turn[second, first]
    return turn


def turn_readers(weights: Weights, norm: str, readers: list[str], turn: F64) -> None:
    """Let a norm and its readers expect the rotated stream."""
    old = weights[norm]
    new = np.sqrt((turn * turn) @ (old * old))
    for name in readers:
        weights[name] = weights[name] * old @ turn.T / new
    weights[norm] = new


def turn_values(
    weights: Weights,
    attention: str,
    config: dict[str, int],
    random: np.random.Generator,
) -> None:
    """Rotate the values of each head, where they are made and where they are read."""
    n_heads = config["num_attention_heads"]
    n_kv = config.get("num_key_value_heads") or n_heads
    values, output = (f"{attention}.{name}.weight" for name in ("v_proj", "o_proj"))
    size = len(weights[values]) // n_kv
    turns = [rotation(size, random) for _ in range(n_kv)]
    made = weights[values].reshape(n_kv, size, -1)
    weights[values] = np.concatenate(
        [turn @ head for turn, head in zip(turns, made, strict=True)]
    )
    read = np.split(weights[output], n_heads, axis=1)
    weights[output] = np.concatenate(
        [head @ turns[i * n_kv // n_heads].T for i, head in enumerate(read)], axis=1
    )


if __name__ == "__main__":
    main()
