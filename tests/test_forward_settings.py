"""What the forward pass makes of settings that few files have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.errors import FormatError, ShapeError, UnsupportedModelError
from quantkit.forward.claims import Claims
from quantkit.forward.facts import Facts
from quantkit.forward.outline import Outline
from quantkit.forward.rotary import Rotary
from quantkit.gguf.keys import Field, boolean, float32, string, uint32
from quantkit.inference.weights import MemoryWeights, load_weights
from quantkit.models import load_model
from quantkit.sources.checking import shapes_of
from quantkit.sources.checkpoint import CheckpointSource

from .families.cases import CASES
from .families.stored import checkpoint

LLAMA = {
    "context_length": uint32(256),
    "embedding_length": uint32(64),
    "attention.head_count": uint32(4),
}
TOKENS = np.arange(1, 9)


def rotary(**settings: Field) -> Rotary:
    """The angles of a Llama with these `rope.*` settings; `__` stands for a dot."""
    named = {f"rope.{key.replace('__', '.')}": field for key, field in settings.items()}
    metadata = {f"llama.{key}": field for key, field in {**LLAMA, **named}.items()}
    shapes = {"output_norm.weight": (64,)}
    return Rotary.load(Facts("llama", metadata), Claims(Outline(shapes), shapes))


def test_the_older_key_of_linear_scaling() -> None:
    """The newer one wins; 0 means none."""
    plain = rotary().frequencies
    older = rotary(scale_linear=float32(4.0)).frequencies
    assert np.array_equal(older, plain / 4)
    both = rotary(scale_linear=float32(4.0), scaling__factor=float32(2.0)).frequencies
    assert np.array_equal(both, plain / 2)
    for key in ("scale_linear", "scaling__factor"):
        assert np.array_equal(rotary(**{key: float32(0.0)}).frequencies, plain)
    unscaled = rotary(scale_linear=float32(4.0), scaling__type=string("none"))
    assert np.array_equal(unscaled.frequencies, plain)


@pytest.mark.parametrize("kind", ["none", "linear", "yarn"])
def test_the_attention_factor_multiplies_queries_and_keys(kind: str) -> None:
    """With every kind of scaling; YaRN has a factor of its own."""
    how = {"scaling__type": string(kind), "scaling__factor": float32(4.0)}
    plain = rotary(**how)
    scaled = rotary(**how, scaling__attn_factor=float32(0.5))
    assert scaled.magnitude == 0.5 * plain.magnitude
    assert (plain.magnitude == 1) == (kind != "yarn")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dimension_count": uint32(18)}, "even number up to the size of a head, 16"),
        ({"dimension_count": uint32(7)}, "even number"),
        ({"dimension_count": uint32(8)}, "is 8; expected the size of a head, 16"),
        ({"freq_base": float32(0.0)}, "freq_base is 0.0; expected .* above 1"),
        ({"scaling__factor": float32(-2.0)}, "expected a finite number from 0"),
        ({"scaling__factor": float32(1e-30)}, "angles .* are not finite"),
        ({"scaling__type": string("spiral")}, "'spiral'; supported: none, linear"),
        ({"scaling__type": string("longrope")}, "lacks the tensors rope_factors"),
    ],
)
def test_rotations_that_cannot_be(settings: dict[str, Field], message: str) -> None:
    """The key and what it may be."""
    with pytest.raises((FormatError, UnsupportedModelError), match=message):
        rotary(**settings)


def test_a_head_larger_than_all_tensors_is_refused() -> None:
    """Before memory is allocated for its angles."""
    metadata = {**LLAMA, "attention.key_length": uint32(2**31 - 2)}
    facts = Facts("llama", {f"llama.{key}": value for key, value in metadata.items()})
    shapes = {"output_norm.weight": (64,)}
    with pytest.raises(FormatError, match="no tensor has more than 64 rows"):
        Rotary.load(facts, Claims(Outline(shapes), shapes))


class Opened:
    """A case's model, whose metadata and tensors can be changed."""

    def __init__(self, name: str, folder: Path) -> None:
        case = next(case for case in CASES if case.name == name)
        source = CheckpointSource(checkpoint(case, folder), "f32")
        self.metadata = dict(source.model_fields)
        self.shapes = shapes_of(source)
        parts: Any = SimpleNamespace(metadata=self.metadata, tensors=source.tensors)
        self.weights: MemoryWeights = load_weights(parts)

    def model(self, **settings: Field) -> Any:
        arch = self.metadata["general.architecture"].value
        own = {f"{arch}.{k.replace('__', '.')}": field for k, field in settings.items()}
        return load_model({**self.metadata, **own}, arch, self.weights, self.shapes)

    def logits(self, **settings: Field) -> NDArray[np.float32]:
        model = self.model(**settings)
        logits: NDArray[np.float32] = model.head.apply(model.hidden(TOKENS))
        return logits


def test_a_text_longer_than_the_position_embedding(tmp_path: Path) -> None:
    """The message says how long it may be."""
    model = Opened("gpt2", tmp_path).model()
    n = model.positions.shape[0]
    assert model.hidden(np.ones(n, np.int32)).shape[0] == n
    with pytest.raises(ShapeError, match=f"{n + 1} tokens; .* each of {n} positions"):
        model.hidden(np.ones(n + 1, np.int32))


def test_granite_may_not_rotate(tmp_path: Path) -> None:
    """Its key for this says something else in other families."""
    opened = Opened("granite", tmp_path)
    still = opened.logits(rope__scaling__finetuned=boolean(False))
    slow = opened.logits(rope__scaling__factor=float32(1e30))
    assert np.allclose(still, slow, atol=1e-5)
    assert not np.allclose(still, opened.logits(), atol=1e-3)


@pytest.mark.parametrize("name", ["gemma2", "exaone4", "gpt-oss"])
def test_sliding_windows_may_have_their_own_base(name: str, tmp_path: Path) -> None:
    """By default they have that of the other layers."""
    opened = Opened(name, tmp_path)
    base = opened.model().layers[0].mixer.rotary.frequencies
    other = opened.model(rope__freq_base_swa=float32(500.0))
    assert np.array_equal(base, opened.model().layers[0].mixer.rotary.frequencies)
    assert not np.array_equal(base, other.layers[0].mixer.rotary.frequencies)


def test_a_fused_matrix_may_have_three_biases(tmp_path: Path) -> None:
    """The logits are those of one bias; two are refused."""
    opened = Opened("chatglm", tmp_path)
    expected = opened.logits()
    weights, shapes = dict(opened.weights.tensors), dict(opened.shapes)
    for layer in range(3):
        at = f"blk.{layer}.attn_"
        fused = weights.pop(f"{at}qkv.bias")
        del shapes[f"{at}qkv.bias"]
        values = fused.data.view(np.float32).reshape(-1)
        start = 0
        for part, n in (("q", 64), ("k", 32), ("v", 32)):
            cut = values[start : start + n].view(np.uint8)[None]
            weights[f"{at}{part}.bias"] = replace(fused, data=cut, n_cols=n)
            shapes[f"{at}{part}.bias"] = (n,)
            start += n
    opened.weights, opened.shapes = MemoryWeights(weights), shapes
    assert np.array_equal(opened.logits(), expected)
    del shapes["blk.1.attn_k.bias"]
    with pytest.raises(FormatError, match=r"lacks the tensor 'blk\.1\.attn_k\.bias'"):
        opened.logits()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"expert_count": uint32(12)}, r"shape \[8, 64\]; expected \[12, 64\]"),
        ({"expert_used_count": uint32(9)}, "used_count is 9; expected .* to 8"),
        ({"expert_used_count": uint32(5)}, "at most the 4 experts of the chosen group"),
        ({"expert_group_count": uint32(3)}, "is 3; expected a divisor of .*, 8"),
        ({"expert_group_used_count": uint32(5)}, "expected an integer from 1 to 4"),
        ({"expert_gating_func": uint32(5)}, "expected an integer from 0 to 4"),
    ],
)
def test_experts_that_cannot_be(
    settings: dict[str, Field], message: str, tmp_path: Path
) -> None:
    """Of DeepSeek V3's 8 in 4 groups, 2 of which are chosen."""
    with pytest.raises(FormatError, match=message):
        Opened("deepseek-v3", tmp_path).model(**settings)
