"""Tuning a calibrated file by distillation: what the scales and norms can still gain.

    pip install . torch
    python benchmarks/try_tuning.py MODEL-f16.gguf EVALUATION.txt
        --calibrate FILE.txt --work FOLDER [--tokens 32768] [--epochs 4]
        [--rates 1e-4,3e-4,1e-3] [--train scales,norms] [--batch 4] [--chunks 40]
        [--threads 2] [--output FILE.md] CALIBRATED.gguf [CALIBRATED.gguf ...]

Each file's codes and sub-scales stay as they are; the f16 numbers of its blocks (d, and
dmin or m) and its f32 norms are trained: Adam on the mean KL divergence from the F16
file's predictions, over the calibration text, with each number's logarithm as the
parameter and the f16 rounding in the loss.  The tenth of the text that calibration
holds out chooses the learning rate and the epoch; if training improves it at no time,
the file stays as it was.  The figures of the evaluation text are `quantkit.compare`'s,
before and after, paired over chunks.

Models of the "llama" architecture only: this is an experiment, not a feature.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measuring import machine, publish, relative_kld
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

import quantkit
from quantkit.calibrating.run import sample_for

CTX = 512

F16_AT = {
    "Q4_0": (0,),
    "Q5_0": (0,),
    "Q8_0": (0,),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
    "IQ3_S": (0,),
    "IQ2_S": (0,),
    "Q4_1": (0, 2),
    "Q5_1": (0, 2),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
}
"""By type, the offsets of a block's f16 numbers; a weight is linear in them."""


class Matrix:
    """A quantized matrix as a function of the f16 numbers of its blocks.

    Attributes:
        steps: for each f16 number, what a weight changes by if it grows by one:
            f32 [rows, blocks of a row, weights of a block].
        start: the numbers in the file: f32 [numbers, rows, blocks of a row, 1].
        shift: the parameters: the logarithms of the numbers relative to `start`.
    """

    def __init__(self, data: NDArray[np.uint8], type: str, shape: tuple[int, ...]):
        self.offsets, kind = F16_AT[type], quantkit.QuantType[type]
        blocks = data.reshape(-1, kind.block_bytes)
        grid = (*shape[:-1], shape[-1] // kind.block_size, kind.block_size)
        numbers, steps = [], []
        for offset in self.offsets:
            numbers.append(blocks[:, offset : offset + 2].copy().view(np.float16))
            unit = blocks.copy()
            for other in self.offsets:
                one = np.array([other == offset], np.float16)
                unit[:, other : other + 2] = one.view(np.uint8)
            packed = quantkit.QuantizedTensor(
                unit.reshape(*shape[:-1], -1), kind, shape
            )
            steps.append(torch.from_numpy(quantkit.dequantize(packed).reshape(grid)))
        self.steps, self.shape = steps, shape
        self.start = torch.from_numpy(np.stack(numbers).astype(np.float32))
        self.start = self.start.reshape(len(numbers), *grid[:-1], 1)
        self.shift = torch.zeros_like(self.start, requires_grad=True)

    def numbers(self) -> Tensor:
        """The f16 numbers, rounded as the file stores them."""
        return rounded(self.start * torch.exp(self.shift))

    def weights(self) -> Tensor:
        """The matrix."""
        numbers = self.numbers()
        total = self.steps[0] * numbers[0]
        for step, number in zip(self.steps[1:], numbers[1:], strict=True):
            total = total + step * number
        return total.reshape(self.shape)

    def patch(self, data: NDArray[np.uint8], type: str) -> None:
        """Write the numbers into the bytes of the tensor."""
        blocks = data.reshape(-1, quantkit.QuantType[type].block_bytes)
        numbers = self.numbers().detach().numpy().astype(np.float16)
        for offset, number in zip(self.offsets, numbers, strict=True):
            blocks[:, offset : offset + 2] = number.reshape(-1, 1).view(np.uint8)


def rounded(numbers: Tensor) -> Tensor:
    """Numbers rounded to f16, whose gradient is that of the numbers."""
    return numbers + (numbers.half().float() - numbers).detach()


class Norm:
    """A vector of f32 factors; the parameters are their logarithms."""

    def __init__(self, data: NDArray[np.uint8]):
        self.start = torch.from_numpy(data.view(np.float32).copy())
        self.shift = torch.zeros_like(self.start, requires_grad=True)

    def weights(self) -> Tensor:
        """The factors."""
        return self.start * torch.exp(self.shift)

    def patch(self, data: NDArray[np.uint8]) -> None:
        """Write the factors into the bytes of the tensor."""
        data.view(np.float32)[:] = self.weights().detach().numpy()


class Llama:
    """The forward pass of "llama": sequences to the inputs of the head."""

    def __init__(self, metadata: Mapping[str, quantkit.Field]):
        def number(key: str) -> float:
            return float(metadata[f"llama.{key}"].value)

        self.n_layers = int(number("block_count"))
        self.n_heads = int(number("attention.head_count"))
        self.n_kv = int(number("attention.head_count_kv"))
        self.epsilon = number("attention.layer_norm_rms_epsilon")
        width = int(number("embedding_length")) // self.n_heads
        powers = torch.arange(0, width, 2, dtype=torch.float64) / width
        angles = torch.arange(CTX)[:, None] * number("rope.freq_base") ** -powers
        self.turn = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)

    def __call__(self, tokens: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """The normed final hidden states: [sequences, positions, width]."""
        x = weights["token_embd.weight"][tokens]
        for i in range(self.n_layers):
            of = {
                name.split(".")[2]: weights[name]
                for name in weights
                if name.startswith(f"blk.{i}.")
            }
            x = x + self._attended(self._normed(x, of["attn_norm"]), of)
            y = self._normed(x, of["ffn_norm"])
            gate = functional.silu(y @ of["ffn_gate"].T)
            x = x + (gate * (y @ of["ffn_up"].T)) @ of["ffn_down"].T
        return self._normed(x, weights["output_norm.weight"])

    def _attended(self, x: Tensor, of: Mapping[str, Tensor]) -> Tensor:
        def heads(name: str, n: int) -> Tensor:
            return (x @ of[name].T).unflatten(-1, (n, -1)).transpose(1, 2)

        def turned(part: Tensor) -> Tensor:
            pairs = torch.view_as_complex(part.unflatten(-1, (-1, 2)).contiguous())
            return torch.view_as_real(pairs * self.turn[: x.shape[1]]).flatten(-2)

        mixed = functional.scaled_dot_product_attention(
            turned(heads("attn_q", self.n_heads)),
            turned(heads("attn_k", self.n_kv)),
            heads("attn_v", self.n_kv),
            is_causal=True,
            enable_gqa=True,
        )
        return mixed.transpose(1, 2).flatten(-2) @ of["attn_output"].T

    def _normed(self, x: Tensor, factors: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), factors, self.epsilon)


class Student:
    """A quantized file whose numbers are trained."""

    def __init__(self, path: Path):
        self.path = path
        self.matrices: dict[str, Matrix] = {}
        self.norms: dict[str, Norm] = {}
        self.fixed: dict[str, Tensor] = {}
        with quantkit.GGUFFile(path) as file:
            for name, tensor in file.tensors.items():
                raw, type = file.raw(name), tensor.type.name
                if type in F16_AT:
                    self.matrices[name] = Matrix(raw, type, tensor.shape)
                elif type == "F32":
                    self.norms[name] = Norm(raw)
                else:
                    self.fixed[name] = plain_weights(tensor, raw)

    def weights(self) -> dict[str, Tensor]:
        """All tensors by name."""
        matrices = {name: each.weights() for name, each in self.matrices.items()}
        norms = {name: each.weights() for name, each in self.norms.items()}
        return {**self.fixed, **matrices, **norms}

    def parameters(self, train: Sequence[str]) -> list[Tensor]:
        """What is trained: of "scales", "norms" or both."""
        parts = {
            "scales": [each.shift for each in self.matrices.values()],
            "norms": [each.shift for each in self.norms.values()],
        }
        return [shift for part in train for shift in parts[part]]

    def write(self, out: Path) -> None:
        """Write the file with the numbers as they are now."""
        everything = np.fromfile(self.path, np.uint8)
        with quantkit.GGUFFile(self.path) as file:
            for name, at in file.locations.items():
                data = everything[at.offset : at.offset + at.n_bytes]
                if name in self.matrices:
                    self.matrices[name].patch(data, file.tensors[name].type.name)
                elif name in self.norms:
                    self.norms[name].patch(data)
        everything.tofile(out)


def plain_weights(tensor: quantkit.SourceTensor, raw: NDArray[np.uint8]) -> Tensor:
    """A tensor in F16 or F32."""
    dtype = {"F16": np.float16, "F32": np.float32}[tensor.type.name]
    values = raw.view(dtype).astype(np.float32).reshape(tensor.shape)
    return torch.from_numpy(values)


@dataclass
class Teacher:
    """The unquantized model: its head, and its final hidden states on the text."""

    run: Llama
    head: Tensor
    tokens: Tensor
    hidden: list[Tensor]
    held_out: list[int]
    summed: list[int]

    @classmethod
    def of(cls, path: Path, text: Path, n_tokens: int) -> Teacher:
        """Run the model on the calibration's sequences."""
        with quantkit.GGUFFile(path) as file, torch.no_grad():
            sample = sample_for(file, quantkit.Calibration([text], tokens=n_tokens))
            run, weights = Llama(file.metadata), {}
            for name, tensor in file.tensors.items():
                weights[name] = plain_weights(tensor, file.raw(name))
            tokens = torch.from_numpy(sample.chunks.astype(np.int64))
            hidden = [run(chunk[None], weights)[0] for chunk in tokens]
            held_out = np.flatnonzero(sample.is_held_out).tolist()
            summed = np.flatnonzero(~sample.is_held_out).tolist()
        return cls(run, head_of(weights), tokens, hidden, held_out, summed)

    def divergence(self, weights: Mapping[str, Tensor], which: Sequence[int]) -> Tensor:
        """The mean KL divergence of a student on some sequences."""
        found = self.run(self.tokens[list(which)], weights)
        base = torch.stack([self.hidden[i] for i in which])
        log_p = functional.log_softmax(base @ self.head.T, -1)
        log_q = functional.log_softmax(found @ head_of(weights).T, -1)
        return (log_p.exp() * (log_p - log_q)).sum(-1).mean()


def head_of(weights: Mapping[str, Tensor]) -> Tensor:
    """The output matrix, which may be the embedding."""
    return weights.get("output.weight", weights["token_embd.weight"])


def held_out_divergence(student: Student, teacher: Teacher) -> float:
    """The mean over the held-out sequences, one at a time."""
    with torch.no_grad():
        weights = student.weights()
        found = [teacher.divergence(weights, [i]) for i in teacher.held_out]
    return float(torch.stack(found).mean())


def epochs(
    student: Student, teacher: Teacher, rate: float, args: argparse.Namespace
) -> Iterator[float]:
    """Train from the file's numbers; gives the held-out divergence of each epoch."""
    parameters = student.parameters(args.train.split(","))
    with torch.no_grad():
        for each in parameters:
            each.zero_()
    optimizer = torch.optim.Adam(parameters, rate, betas=(0.9, 0.99))
    per_epoch = math.ceil(len(teacher.summed) / args.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, args.epochs * per_epoch
    )
    order = np.random.default_rng(0)
    for _ in range(args.epochs):
        sequences = order.permutation(teacher.summed)
        for batch in np.array_split(sequences, per_epoch):
            optimizer.zero_grad()
            teacher.divergence(student.weights(), batch.tolist()).backward()
            optimizer.step()
            schedule.step()
        yield held_out_divergence(student, teacher)


def tuned(path: Path, teacher: Teacher, out: Path, args: argparse.Namespace) -> str:
    """Train with each rate, and write the best; says what was chosen."""
    student = Student(path)
    best = first = held_out_divergence(student, teacher)
    chosen = "not trained"
    student.write(out)
    for rate in map(float, args.rates.split(",")):
        start = time.perf_counter()
        for epoch, found in enumerate(epochs(student, teacher, rate, args), 1):
            seconds = time.perf_counter() - start
            line = [path.name, rate, epoch, first, found, round(seconds)]
            print(json.dumps(line), file=sys.stderr, flush=True)
            if found < best:
                best, chosen = found, f"rate {rate:g}, epoch {epoch}"
                student.write(out)
    return f"{chosen} | {best / first - 1:+.1%}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a GGUF file in F16")
    parser.add_argument("text", type=Path, help="a UTF-8 text to evaluate on")
    parser.add_argument("files", type=Path, nargs="+", metavar="CALIBRATED")
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rates", default="1e-4,3e-4,1e-3")
    parser.add_argument("--train", default="scales,norms")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="also write the table here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    args.work.mkdir(parents=True, exist_ok=True)
    teacher = Teacher.of(args.model, args.calibrate, args.tokens)
    rows = []
    for path in args.files:
        out = args.work / f"{path.stem}-tuned.gguf"
        chosen = tuned(path, teacher, out, args)
        compared = quantkit.compare(
            [args.model, path, out],
            text=args.text,
            options=quantkit.TextOptions(CTX, args.chunks),
            threads=args.threads,
        )
        before, after = compared.results
        cells = [path.stem, chosen, f"{before.kld_mean:.5f}", f"{after.kld_mean:.5f}"]
        relative = relative_kld(compared, after, before)
        cells += [relative, f"{before.ppl:.3f}, {after.ppl:.3f}"]
        rows.append(f"| {' | '.join(cells)} |")
        print(rows[-1], file=sys.stderr, flush=True)
    lines = [
        machine(),
        "",
        f"{args.model.name}, {args.train}, {args.tokens} tokens of "
        f"{args.calibrate.name}, at most {args.epochs} epochs; {args.chunks} chunks of "
        f"{CTX} of {args.text.name}",
        "",
        "| file | chosen on held-out text | there | KLD before | after | change "
        "| PPL |",
        "|---" * 7 + "|",
        *rows,
    ]
    publish(lines, args.output)


if __name__ == "__main__":
    main()
