"""An unquantized model from a quantized GGUF file, with weights off the file's grid.

    pip install gguf
    python benchmarks/make_offgrid_gguf.py QUANTIZED.gguf OUT-f16.gguf [--seed 5]

A file that was quantized once has few values in each block, so what quantizing it again
costs says little: its own type costs nothing.  Here each weight of a matrix moves by a
uniformly random part of a step, at most half of one, and the result is stored as F16.
The model is another one than the original, about as good as the quantized file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

# the largest magnitude of 32 weights is about this many steps of the type
STEPS = {"Q4_0": 8, "Q4_K": 9, "Q5_0": 16, "Q5_K": 18, "Q6_K": 32, "Q8_0": 127}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a quantized GGUF file")
    parser.add_argument("out", type=Path, help="the F16 file to write")
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, dequantize

    reader = GGUFReader(args.model)
    architecture = reader.fields["general.architecture"].contents()
    writer = GGUFWriter(args.out, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = 1 if name == "general.file_type" else field.contents()
        sub_type = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(name, value, field.types[0], sub_type)
    random = np.random.default_rng(args.seed)
    for tensor in reader.tensors:
        weights = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
        kind = GGMLQuantizationType(tensor.tensor_type).name
        if kind in STEPS:
            blocks = weights.reshape(-1, 32)
            step = np.abs(blocks).max(axis=1, keepdims=True) / STEPS[kind]
            blocks = blocks + step * (random.random(blocks.shape, np.float32) - 0.5)
            weights = blocks.reshape(weights.shape).astype(np.float16)
        elif kind not in {"F16", "F32"}:
            parser.error(
                f"{tensor.name} has the type {kind}; known: {', '.join(STEPS)}"
            )
        elif kind == "F16":
            weights = weights.astype(np.float16)
        writer.add_tensor(tensor.name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
