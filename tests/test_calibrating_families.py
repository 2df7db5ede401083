"""Calibrated rounding of every family: all matrices of layers see their inputs."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.calibrating.capturing import CapturedWeights, Run
from quantkit.calibrating.model_pass import solvable
from quantkit.calibrating.parts import EXPERTS
from quantkit.calibrating.run import calibrate_on
from quantkit.calibrating.sample import Sample
from quantkit.execution.workers import Workers
from quantkit.forward.decoder import Decoder
from quantkit.gguf.source import ModelSource
from quantkit.inference.weights import load_model
from quantkit.quantizing.slabs import slabs_of
from quantkit.sources.checkpoint import CheckpointSource
from quantkit.types import QuantType

from .families.cases import DECODERS, Case
from .families.sampling import one_in_four
from .families.stored import checkpoint
from .test_structure import is_read

BY_NAME = one_in_four(DECODERS)

KINDS = (
    *("bloom", "deepseek-v2", "gemma2", "gpt-oss", "gpt2", "llama-1", "mixtral"),
    *("gemma4-e2b", "phi3", "qwen2moe"),
)
"""Cases that differ in what calibration sees; the others are slow tests."""

SOLVED = [
    pytest.param(
        case, id=case.name, marks=[] if case.name in KINDS else [pytest.mark.slow]
    )
    for case in DECODERS
]
NO_FACTORS = (
    *("_ape", "conv1d", "conv.conv", "norm", "tid2eid"),
    # RWKV's vectors of heads; and what readers want in its first layer for nothing
    *("time_mix_first", "time_mix_lerp", "blk.0.time_mix_v1", "blk.0.time_mix_v2"),
)
"""Parts of the names of matrices that no input is multiplied by."""
LOOKUPS = (
    *("token_embd.weight", "per_layer_token_embd.weight", "position_embd.weight"),
    # after the last layer, so that no layer sees their inputs
    *("output_hc_fn.weight", "output_hc_down.weight", "output_hc_up.weight"),
)
KEPT = ("altup_", "per_layer_model_proj")
"""What no recipe quantizes, since Gemma 3n's are tiny."""


BLOCK = re.compile(r"blk\.(\d+)\.")


def opened(case: Case, folder: Path) -> ModelSource:
    """The model of a case, which has no tokenizer."""
    source = CheckpointSource(checkpoint(case, folder), "f32")
    found: Any = SimpleNamespace(metadata=source.model_fields, tensors=source.tensors)
    return found


def sample_for(source: ModelSource, n_chunks: int = 4, ctx: int = 24) -> Sample:
    """Random tokens."""
    n_tokens = source.tensors["token_embd.weight"].n_rows
    ids = np.random.default_rng(0).integers(n_tokens, size=(n_chunks, ctx))
    return Sample(ids.astype(np.int32), ids[0].astype(np.int32))


def types_of(source: ModelSource) -> dict[str, QuantType]:
    """Q4_0 for all matrices whose rows are whole blocks."""
    return {
        name: QuantType.Q4_0
        if tensor.n_rows > 1
        and tensor.n_cols % 32 == 0
        and name.endswith("weight")
        and not any(part in name for part in NO_FACTORS + KEPT)
        else tensor.type
        for name, tensor in source.tensors.items()
    }


def rows_of(
    source: ModelSource, effort: str, threads: int | Workers
) -> tuple[dict[str, NDArray[np.uint8]], dict[str, Any]]:
    """The bytes of all calibrated tensors, and their gains."""
    types = types_of(source)
    with calibrate_on(
        source, types, sample_for(source), effort=effort, threads=threads
    ) as found:
        rows = {}
        for name in found.gains:
            tensor = source.tensors[name]
            slabs = slabs_of(tensor, types[name], found.of(tensor))
            rows[name] = np.concatenate([slab.convert() for slab in slabs])
        return rows, dict(found.gains)


@pytest.mark.parametrize("case", BY_NAME)
def test_the_inputs_of_all_matrices_are_captured(case: Case, tmp_path: Path) -> None:
    """Whatever their widths; of some experts, since each token chooses a few."""
    source = opened(case, tmp_path)
    weights = CapturedWeights(source.tensors)
    model = load_model(source, weights)
    assert isinstance(model, Decoder)
    blocks = {match[1] for name in source.tensors if (match := BLOCK.match(name))}
    for number, layer in enumerate(model.layers):
        block = model.block_of(number)
        if str(block) not in blocks:  # it has no matrices, or those of another one
            continue
        names = [
            name
            for name, tensor in source.tensors.items()
            if name.startswith(f"blk.{block}.") and name.endswith("weight")
            if tensor.n_rows > 1 and not any(part in name for part in NO_FACTORS)
        ]
        run = Run(wanted={part for name in names for part in weights.parts(name)})
        with weights.running(run):
            layer(model.embedded(np.arange(16) % 7))
        assert names
        for name in names:
            parts = set(weights.parts(name))
            found = {part for part in run.inputs if part.tensor == name}
            assert found
            assert found == parts or name.endswith(EXPERTS)


@pytest.mark.parametrize("case", SOLVED)
def test_all_matrices_are_solved(case: Case, tmp_path: Path) -> None:
    """Each is captured, or it is a lookup; the bytes depend on no number of threads."""
    source = opened(case, tmp_path)
    rows, gains = rows_of(source, "best", 1)
    again, _ = rows_of(source, "best", 2)
    metadata, types = source.metadata, types_of(source)
    wanted = [name for name in solvable(source, types) if is_read(name, metadata)]
    assert wanted
    assert set(wanted) - gains.keys() <= set(LOOKUPS)
    for name, gain in gains.items():
        assert np.array_equal(rows[name], again[name]), name
        if any(part in name for part in NO_FACTORS):
            assert gain.kept_plain == "the model does not multiply by it"
            continue
        is_expert = name.endswith(EXPERTS)
        assert gain.most_tokens > 0 or gain.kept_plain, name
        assert is_expert or gain.fewest_tokens == 3 * 23, (name, gain)
        if not gain.kept_plain:
            assert gain.before is not None
            assert gain.after is not None
            assert gain.after < gain.before, name
    assert not all(gain.kept_plain for gain in gains.values())
