"""Checkpoints: speed and memory of `quantkit convert` against llama.cpp's converter.

    pip install . torch transformers
    python benchmarks/bench_convert.py FOLDER --llama-source LLAMA.CPP
        [--outtypes f16,bf16,q8_0] [--repeats 5] [--large 5] [--output FILE.md]

Each run is a process of its own, timed from start to end as a user sees it; both run in
turn, and the ratio is that of the medians.  Memory is the most that the process had
resident, pages of mapped files among it.  `--large N` also converts a checkpoint of
about N GB, made of the same folder's tokenizer and of random weights, and shows that
memory does not grow with it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from measuring import MIB, Run, machine, publish, run

TENSORS_PER_SHARD = 40


def ours(folder: Path, out: Path, outtype: str, threads: int) -> list[str]:
    """The command line of quantkit."""
    options = ["--outtype", outtype, "--threads", str(threads), "-q"]
    code = ["-m", "quantkit", "convert", str(folder), "-o", str(out)]
    return [sys.executable, *code, *options]


def theirs(source: Path, folder: Path, out: Path, outtype: str) -> list[str]:
    """The command line of convert_hf_to_gguf.py."""
    script = str(source / "convert_hf_to_gguf.py")
    options = ["--outfile", str(out), "--outtype", outtype]
    return [sys.executable, script, str(folder), *options]


def row(name: str, base: list[Run], mine: list[Run], same: bool) -> str:
    """One Markdown row: medians, their ratio, memory, and whether bytes agree."""
    slow, fast = (statistics.median(r.seconds for r in runs) for runs in (base, mine))
    peak_base, peak = (max(r.peak_bytes for r in runs) / MIB for runs in (base, mine))
    return (
        f"| {name} | {slow:.2f} | {fast:.2f} | {slow / fast:.1f}x | {peak_base:.0f} "
        f"| {peak:.0f} | {peak / peak_base:.2f} | {'yes' if same else 'no'} |"
    )


def compare(args: argparse.Namespace, outtype: str, folder: Path) -> str:
    """Both converters on the checkpoint, in turn."""
    environment = {"PYTHONPATH": str(args.llama_source / "gguf-py")}
    mine_out, base_out = folder / "ours.gguf", folder / "theirs.gguf"
    base: list[Run] = []
    mine: list[Run] = []
    for _ in range(args.repeats):
        command = theirs(args.llama_source, args.model, base_out, outtype)
        base.append(run(command, environment))
        mine.append(run(ours(args.model, mine_out, outtype, args.threads)))
    same = mine_out.read_bytes() == base_out.read_bytes()
    return row(f"{args.model.name} {outtype}", base, mine, same)


def make_large(model: Path, folder: Path, n_bytes: int) -> Path:
    """A checkpoint of about that size: the model's layers over and over, BF16."""
    from safetensors.numpy import save_file

    folder.mkdir()
    for path in model.iterdir():
        if path.is_file() and path.suffix != ".safetensors":
            shutil.copy(path, folder)
    config = json.loads((model / "config.json").read_text())
    width, n_heads = config["hidden_size"], config["num_attention_heads"]
    keys = width // n_heads * config["num_key_value_heads"]
    ffn = config["intermediate_size"]
    shapes = {
        "input_layernorm": (width,),
        "post_attention_layernorm": (width,),
        "self_attn.q_proj": (width, width),
        "self_attn.k_proj": (keys, width),
        "self_attn.v_proj": (keys, width),
        "self_attn.o_proj": (width, width),
        "mlp.gate_proj": (ffn, width),
        "mlp.up_proj": (ffn, width),
        "mlp.down_proj": (width, ffn),
    }
    layer_bytes = 2 * sum(int(np.prod(shape)) for shape in shapes.values())
    config["num_hidden_layers"] = n_bytes // layer_bytes
    config["tie_word_embeddings"] = True
    (folder / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    shard: dict[str, np.ndarray] = {}
    weight_map: dict[str, str] = {}

    def put(name: str, shape: tuple[int, ...], last: bool = False) -> None:
        shard[name] = rng.random(shape, np.float32).astype(np.float16)
        number = len(weight_map) // TENSORS_PER_SHARD
        weight_map[name] = f"model-{number:05d}.safetensors"
        if last or len(shard) == TENSORS_PER_SHARD:
            save_file(shard, folder / weight_map[name])
            shard.clear()

    for i in range(config["num_hidden_layers"]):
        for part, shape in shapes.items():
            put(f"model.layers.{i}.{part}.weight", shape)
    put("model.norm.weight", (width,))
    put("model.embed_tokens.weight", (config["vocab_size"], width), last=True)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def large(args: argparse.Namespace, folder: Path) -> list[str]:
    """quantkit's memory on the model and on one much larger."""
    checkpoint = make_large(args.model, folder / "large", int(args.large * 1e9))
    lines = ["", "| checkpoint | GB | seconds | most resident MiB |", "|---" * 4 + "|"]
    for path in (args.model, checkpoint):
        done = run(ours(path, folder / "out.gguf", "q8_0", args.threads))
        size = sum(shard.stat().st_size for shard in path.glob("*.safetensors"))
        lines.append(
            f"| {'the model' if path == args.model else 'the large one'} "
            f"| {size / 1e9:.2f} | {done.seconds:.1f} | {done.peak_bytes / MIB:.0f} |"
        )
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a checkpoint folder")
    parser.add_argument("--llama-source", type=Path, required=True)
    parser.add_argument("--outtypes", default="f16,bf16,q8_0")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--large", type=float, help="GB of another checkpoint to make")
    parser.add_argument("--output", type=Path, help="also write the tables here")
    args = parser.parse_args()
    lines = [
        machine(),
        "",
        f"Median seconds of {args.repeats} runs with {args.threads} threads, "
        "and most resident MiB.",
        "",
        "| checkpoint | llama.cpp s | quantkit s | ratio | llama.cpp MiB "
        "| quantkit MiB | ratio | same bytes |",
        "|---" * 8 + "|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for outtype in args.outtypes.split(","):
            lines.append(compare(args, outtype, Path(folder)))
            print(lines[-1], file=sys.stderr)
        if args.large:
            lines += large(args, Path(folder))
    publish(lines, args.output)


if __name__ == "__main__":
    main()
