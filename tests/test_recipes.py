"""Recipes assign the types that llama-quantize assigns."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import gguf
import pytest

from quantkit.errors import FormatError, UnsupportedTypeError
from quantkit.gguf.keys import Field, ValueType, array, string, uint32
from quantkit.recipes import (
    RECIPES,
    Assignment,
    ModelFacts,
    Recipe,
    assign_types,
    importance_fallback,
    requires_importance,
)
from quantkit.recipes.assign import fitting
from quantkit.types import QuantType

SNAPSHOTS = sorted((Path(__file__).parent / "fixtures" / "recipes").glob("*.json"))
DENSE = ModelFacts("qwen3", n_layers=32, n_head=16, n_head_kv=8)


def types_of(
    recipe: str, facts: ModelFacts, *names: str, n_cols: int = 512
) -> list[str]:
    """The names of the types that matrices with these names get."""
    tensors = [(name, (64, n_cols), QuantType.F16) for name in names]
    assigned = assign_types(Recipe.parse(recipe), facts, tensors)
    return [assigned[name].type.name for name in names]


def per_layer(recipe: str, facts: ModelFacts, part: str) -> list[str]:
    """The types of one tensor of every layer, first layer first."""
    names = [f"blk.{i}.{part}.weight" for i in range(facts.n_layers)]
    return types_of(recipe, facts, *names)


def expand(spelled: str) -> list[str]:
    """ "blk.0-2,4.x" -> blk.0.x, blk.1.x, blk.2.x, blk.4.x."""
    if not spelled.startswith("blk."):
        return [spelled]
    _, layers, part = spelled.split(".", 2)
    bounds = [[int(n) for n in run.split("-")] for run in layers.split(",")]
    return [f"blk.{i}.{part}" for b in bounds for i in range(b[0], b[-1] + 1)]


def is_stacked(name: str) -> bool:
    """Whether the tensor has a matrix for each expert or head."""
    return any(part in name for part in ("_exps.", "attn_k_b.", "attn_v_b."))


# --- llama.cpp's own answers ------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: path.stem)
def test_types_equal_llama_cpps_snapshot(path: Path, name: str) -> None:
    """All tensors of 12 real models get the types that llama.cpp gives them."""
    snapshot = json.loads(path.read_text())
    if name not in snapshot["types"]:
        pytest.skip(f"llama.cpp's snapshots have no {name}")
    recipe = Recipe.parse(name)
    tensors = [
        (full, (8, 64, n_cols) if is_stacked(full) else (64, n_cols), QuantType.F32)
        for spelled, n_cols in snapshot["tensors"].items()
        for full in expand(spelled)
    ]
    expected = dict.fromkeys((full for full, _, _ in tensors), recipe.base)
    for type_name, listed in snapshot["types"][name].items():
        for spelled in listed.split():
            expected.update(dict.fromkeys(expand(spelled), QuantType.parse(type_name)))
    assigned = assign_types(recipe, ModelFacts(**snapshot["facts"]), tensors)
    assert {full: a.type for full, a in assigned.items()} == expected


@functools.cache
def read_gguf(path: Path) -> tuple[dict[str, Field], list[Any]]:
    """Metadata and (name, shape, type) of a GGUF file, by the gguf package."""
    reader = gguf.GGUFReader(path)
    metadata = {
        key: Field(ValueType(field.types[0]), field.contents())
        for key, field in reader.fields.items()
        if not key.startswith(("tokenizer.", "GGUF."))
    }
    tensors = [
        (t.name, tuple(map(int, t.shape[::-1])), QuantType.from_id(int(t.tensor_type)))
        for t in reader.tensors
    ]
    return metadata, tensors


@pytest.mark.interop
@pytest.mark.parametrize("suffix", ["", "-imatrix"])
@pytest.mark.parametrize("name", RECIPES)
def test_types_equal_a_file_that_llama_cpp_quantized(name: str, suffix: str) -> None:
    """Types assigned from the F16 file are those in llama-quantize's output."""
    folder = os.environ.get("QUANTKIT_LLAMACPP_QUANTS")
    if not folder:
        pytest.skip("QUANTKIT_LLAMACPP_QUANTS names no folder")
    path = Path(folder) / f"{name}{suffix}.gguf"
    if not path.exists():
        pytest.skip(f"no {path.name} (it may need an importance matrix)")
    if Recipe.parse(name).base.name not in gguf.GGMLQuantizationType.__members__:
        pytest.skip(f"the gguf package does not know {name}")
    metadata, source = read_gguf(Path(folder) / "F16.gguf")
    written_metadata, written = read_gguf(path)
    names = [full for full, _, _ in source]
    facts = ModelFacts.of(metadata, names, has_importance=bool(suffix))
    assigned = assign_types(Recipe.parse(name), facts, source)
    assert {full: a.type for full, a in assigned.items()} == {
        full: type for full, _, type in written
    }
    assert written_metadata["general.file_type"].value == Recipe.parse(name).file_type


# --- names ------------------------------------------------------------------------


def test_parse_ignores_case_and_knows_the_aliases() -> None:
    """Q3_K, Q4_K and Q5_K mean the medium mixes, and a recipe parses to itself."""
    names = [Recipe.parse(name).name for name in ("q4_k_m", "Q3_K", "q4_k", "Q5_k")]
    assert names == ["Q4_K_M", "Q3_K_M", "Q4_K_M", "Q5_K_M"]
    assert Recipe.parse(RECIPES["Q6_K"]) is RECIPES["Q6_K"]


def test_parse_suggests_the_nearest_name() -> None:
    """A misspelt recipe raises an error that names the likely one."""
    with pytest.raises(UnsupportedTypeError, match=r"'q4_km'; did you mean Q4_K_M\?"):
        Recipe.parse("q4_km")


def test_file_types_are_distinct() -> None:
    """No two recipes share a `general.file_type`."""
    assert len({recipe.file_type for recipe in RECIPES.values()}) == len(RECIPES)


# --- facts ------------------------------------------------------------------------


def test_facts_come_from_metadata_and_names() -> None:
    """Per-layer head counts give layer 0's; MTP blocks count as layers."""
    metadata = {
        "general.architecture": string("glm4moe"),
        "glm4moe.block_count": uint32(47),
        "glm4moe.nextn_predict_layers": uint32(1),
        "glm4moe.attention.head_count": array(ValueType.UINT32, [96, 64]),
        "glm4moe.attention.head_count_kv": array(ValueType.UINT32, [8, 4]),
        "glm4moe.expert_count": uint32(128),
    }
    facts = ModelFacts.of(metadata, ["token_embd.weight"], has_importance=True)
    assert facts == ModelFacts("glm4moe", 47, 96, 8, 128, 1, True, True)
    assert facts.heads_per_kv == 12


def test_layers_that_run_several_times_count_as_often() -> None:
    """llama-quantize counts them so; damaged metadata may have 0."""
    metadata = {
        "general.architecture": string("nanbeige"),
        "nanbeige.block_count": uint32(22),
        "nanbeige.num_loops": uint32(2),
    }
    assert ModelFacts.of(metadata, []).n_layers == 44
    metadata["nanbeige.num_loops"] = uint32(0)
    assert ModelFacts.of(metadata, []).n_layers == 22


def test_facts_of_a_model_with_little_metadata() -> None:
    """Missing counts come from the tensor names or mean none."""
    names = ["output.weight", "blk.2.attn_v.weight", "v.blk.9.attn_v.weight"]
    facts = ModelFacts.of({"general.architecture": string("flux")}, names)
    assert facts == ModelFacts("flux", n_layers=3, n_head=0, n_head_kv=0)
    assert facts.heads_per_kv == 0


@pytest.mark.parametrize(
    "count", [string("many"), array(ValueType.UINT32, []), array(ValueType.STRING, "a")]
)
def test_facts_refuse_what_is_no_number(count: Field) -> None:
    """The error names the key and what it holds."""
    metadata = {"general.architecture": string("llama"), "llama.block_count": count}
    message = r"'llama\.block_count' is .*; expected an integer"
    with pytest.raises(FormatError, match=message):
        ModelFacts.of(metadata, [])


def test_layers_without_tensors_count() -> None:
    """llama.cpp's loader adds one to a Granite Switch, and its mixes count it."""
    metadata = {
        "general.architecture": string("graniteswitch"),
        "graniteswitch.block_count": uint32(2),
    }
    assert ModelFacts.of(metadata, []).n_layers == 3


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (ModelFacts("llama", 80, 64, 8), True),
        (ModelFacts("llama", 80, 64, 64), False),
        (ModelFacts("llama", 81, 64, 8, n_nextn=1), True),
        (ModelFacts("qwen2", 80, 64, 64), True),
        (ModelFacts("jais2", 68, 64, 8), True),
        (ModelFacts("jais2", 80, 64, 8), False),
        (ModelFacts("qwen3", 80, 64, 8), False),
    ],
)
def test_70b_class(facts: ModelFacts, expected: bool) -> None:
    """Only the architectures and depths that llama.cpp calls 70B are."""
    assert facts.is_70b is expected


# --- what keeps its type ----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("blk.0.attn_norm.weight", (512,)),
        ("blk.0.attn_q_norm.weight", (8, 512)),
        ("blk.0.attn_q.bias", (8, 512)),
        ("blk.0.ffn_gate_inp.weight", (8, 512)),
        ("blk.0.ssm_conv1d.weight", (8, 512)),
        ("blk.0.time_mix_w1.weight", (8, 512)),
        ("position_embd.weight", (8, 512)),
        ("token_types.weight", (8, 512)),
        ("v.position_embd.weight", (8, 512)),
        ("v.patch_embd.weight", (8, 3, 16, 512)),
        ("blk.0.attn_q.weight", (1, 512)),
    ],
)
@pytest.mark.parametrize("recipe", ["Q4_K_M", "F16"])
def test_kept(recipe: str, name: str, shape: tuple[int, ...]) -> None:
    """Vectors, norms, routers, positions and similar tensors keep their type."""
    assigned = assign_types(Recipe.parse(recipe), DENSE, [(name, shape, QuantType.F32)])
    assert assigned[name].type is QuantType.F32
    assert assigned[name].reason.startswith("kept: ")


def test_one_column_is_a_matrix() -> None:
    """A [64, 1] tensor has two dimensions, and its odd row makes it F16."""
    assert types_of("Q8_0", DENSE, "blk.0.attn_q.weight", n_cols=1) == ["F16"]


def test_glm5_next_keeps_more_and_never_goes_below_q8_0() -> None:
    """The architecture's own lists apply to it alone."""
    names = [
        "blk.0.hc_fn.weight",
        "blk.0.attn_q_a.weight",
        "blk.0.nextn.eh_proj.weight",
    ]
    glm = ModelFacts("glm5-next", 4, 8, 8)
    assert types_of("Q4_K_S", glm, *names) == ["F16", "Q8_0", "Q8_0"]
    assert types_of("Q4_K_S", DENSE, *names) == ["Q4_K", "Q4_K", "Q4_K"]


@pytest.mark.parametrize("recipe", ["F32", "F16", "BF16"])
def test_plain_recipes_convert_every_matrix_alike(recipe: str) -> None:
    """No mix and no fallback: matrices of any row length get the type."""
    names = ["token_embd.weight", "output.weight", "blk.0.ffn_down.weight"]
    assert types_of(recipe, DENSE, *names, n_cols=7) == [recipe] * 3


# --- output head and token embedding ----------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "output"), [("Q2_K", "Q6_K"), ("Q4_0", "Q6_K"), ("Q8_0", "Q8_0")]
)
def test_output_and_embedding(recipe: str, output: str) -> None:
    """The output head gets the better type; the embedding does if it is the head."""
    names = ["token_embd.weight", "per_layer_token_embd.weight"]
    base = RECIPES[recipe].base.name
    tied = ModelFacts("gemma3", 32, 8, 4, tied=True)
    assert types_of(recipe, DENSE, "output.weight", *names) == [output, base, base]
    assert types_of(recipe, tied, *names) == [output, output]


@pytest.mark.parametrize(
    ("recipe", "output", "embedding"),
    [
        ("IQ1_M", "Q5_K", "Q2_K"),
        ("IQ2_XS", "Q5_K", "Q2_K"),
        ("IQ2_S", "Q5_K", "IQ3_S"),
        ("IQ3_XXS", "Q5_K", "IQ3_S"),
        ("IQ3_XS", "Q6_K", "IQ3_S"),
        ("IQ4_NL", "Q6_K", "IQ4_NL"),
        ("TQ1_0", "Q6_K", "Q4_K"),
        ("Q1_0", "Q6_K", "Q1_0"),
        ("Q2_0", "Q6_K", "Q4_K"),
    ],
)
def test_embedding_of_low_bits(recipe: str, output: str, embedding: str) -> None:
    """An embedding gets more than 1 or 2 bits; one that is the head, the head's."""
    tied = ModelFacts("gemma3", 32, 8, 4, tied=True)
    names = ["output.weight", "token_embd.weight"]
    assert types_of(recipe, DENSE, *names) == [output, embedding]
    assert types_of(recipe, tied, "token_embd.weight") == [output]


def test_output_with_an_odd_row_or_in_falcon_is_q8_0() -> None:
    """Q6_K cannot hold rows of 576, and Falcon's head is always Q8_0."""
    falcon = ModelFacts("falcon", 32, 71, 1)
    assert types_of("Q4_K_M", DENSE, "output.weight", n_cols=576) == ["Q8_0"]
    assert types_of("Q4_K_M", falcon, "output.weight") == ["Q8_0"]
    assert types_of("Q4_0", DENSE, "output.weight", n_cols=576) == ["Q8_0"]


# --- mixes ------------------------------------------------------------------------


def test_more_bits_pattern() -> None:
    """The first and last eighth and every third layer between get Q6_K."""
    better = {*range(4), 6, 9, 12, 15, 18, 21, 24, 27, *range(28, 32)}
    expected = ["Q6_K" if i in better else "Q4_K" for i in range(32)]
    assert per_layer("Q4_K_M", DENSE, "ffn_down") == expected
    assert per_layer("Q4_K_M", DENSE, "attn_v") == expected


def runs(types: list[str]) -> list[tuple[str, int]]:
    """Lengths of the runs of equal types."""
    lengths: list[tuple[str, int]] = []
    for type in types:
        last, n = lengths[-1] if lengths else ("", 0)
        lengths[-1:] = [(type, n + 1)] if type == last else [*lengths[-1:], (type, 1)]
    return lengths


@pytest.mark.parametrize(
    ("recipe", "attn_v", "attn_output", "ffn_down"),
    [
        ("Q2_K", [("Q3_K", 32)], [("Q3_K", 32)], [("Q3_K", 32)]),
        ("Q2_K_S", [("Q2_K", 32)], [("Q2_K", 32)], [("Q4_K", 4), ("Q2_K", 28)]),
        ("Q3_K_S", [("Q3_K", 32)], [("Q3_K", 32)], [("Q3_K", 32)]),
        (
            "Q3_K_M",
            [("Q5_K", 2), ("Q4_K", 30)],
            [("Q4_K", 32)],
            [("Q5_K", 2), ("Q4_K", 30)],
        ),
        ("Q3_K_L", [("Q5_K", 32)], [("Q5_K", 32)], [("Q5_K", 32)]),
        (
            "Q4_K_S",
            [("Q5_K", 4), ("Q4_K", 28)],
            [("Q4_K", 32)],
            [("Q5_K", 4), ("Q4_K", 28)],
        ),
        ("Q5_K_S", [("Q5_K", 32)], [("Q5_K", 32)], [("Q5_K", 32)]),
        ("Q6_K", [("Q6_K", 32)], [("Q6_K", 32)], [("Q6_K", 32)]),
        (
            "IQ1_S",
            [("Q2_K", 32)],
            [("IQ2_XXS", 32)],
            [("Q2_K", 4), ("IQ1_S", 28)],
        ),
        ("IQ2_XS", [("Q2_K", 32)], [("IQ2_XS", 32)], [("Q2_K", 4), ("IQ2_XS", 28)]),
        ("IQ2_M", [("IQ3_S", 32)], [("IQ3_S", 32)], [("IQ3_S", 4), ("IQ2_S", 28)]),
        ("IQ3_XXS", [("IQ3_S", 32)], [("IQ3_S", 32)], [("Q4_K", 4), ("Q3_K", 28)]),
        ("IQ3_M", [("Q4_K", 32)], [("Q4_K", 32)], [("Q4_K", 4), ("IQ3_S", 28)]),
        ("IQ4_XS", [("IQ4_XS", 32)], [("IQ4_XS", 32)], [("Q5_K", 4), ("IQ4_XS", 28)]),
        ("TQ1_0", [("TQ1_0", 32)], [("TQ1_0", 32)], [("TQ1_0", 32)]),
        ("Q4_0", [("Q4_0", 32)], [("Q4_0", 32)], [("Q4_0", 32)]),
    ],
)
def test_mix_of_a_dense_model(
    recipe: str,
    attn_v: list[tuple[str, int]],
    attn_output: list[tuple[str, int]],
    ffn_down: list[tuple[str, int]],
) -> None:
    """The mixes of a model of 32 layers with two queries a key."""
    assert runs(per_layer(recipe, DENSE, "attn_v")) == attn_v
    assert runs(per_layer(recipe, DENSE, "attn_output")) == attn_output
    assert runs(per_layer(recipe, DENSE, "ffn_down")) == ffn_down
    assert set(per_layer(recipe, DENSE, "ffn_up")) == {RECIPES[recipe].base.name}


@pytest.mark.parametrize("recipe", ["Q2_K", "Q2_K_S"])
def test_grouped_queries_lift_values(recipe: str) -> None:
    """Where four or more queries share a key, values are few and get Q4_K."""
    facts = ModelFacts("qwen3", 32, 32, 8)
    assert runs(per_layer(recipe, facts, "attn_v")) == [("Q4_K", 32)]


@pytest.mark.parametrize("recipe", ["Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M"])
def test_70b_lifts_values_to_q5_k(recipe: str) -> None:
    """Llama 2 and 3 70B never have values below Q5_K in the 3 and 4 bit mixes."""
    facts = ModelFacts("llama", 80, 64, 8)
    assert set(per_layer(recipe, facts, "attn_v")) <= {"Q5_K", "Q6_K"}
    assert set(per_layer(recipe, facts, "attn_k")) == {RECIPES[recipe].base.name}


@pytest.mark.parametrize(
    ("recipe", "attn_output"),
    [
        ("Q2_K", "Q5_K"),
        ("Q2_K_S", "Q2_K"),
        ("Q3_K_S", "Q5_K"),
        ("Q3_K_M", "Q5_K"),
        ("Q3_K_L", "Q3_K"),
        ("Q4_K_S", "Q5_K"),
        ("Q4_K_M", "Q5_K"),
        ("Q5_K_M", "Q5_K"),
        ("Q4_0", "Q4_0"),
        ("IQ3_XXS", "Q5_K"),
        ("IQ3_XS", "Q5_K"),
        ("IQ3_S", "Q5_K"),
        ("IQ3_M", "Q5_K"),
        ("IQ4_NL", "Q5_K"),
        ("IQ4_XS", "Q5_K"),
        ("TQ2_0", "TQ2_0"),
        ("Q1_0", "Q1_0"),
    ],
)
def test_eight_experts(recipe: str, attn_output: str) -> None:
    """Mixtral: attention is small beside 8 experts, so it gets more bits."""
    mixtral = ModelFacts("llama", 32, 32, 8, n_expert=8)
    names = [f"blk.9.{part}.weight" for part in ("attn_v", "attn_k", "attn_output")]
    assert types_of(recipe, mixtral, *names) == ["Q8_0", "Q8_0", attn_output]


@pytest.mark.parametrize("recipe", ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_M"])
def test_eight_experts_in_mixes_of_low_bits(recipe: str) -> None:
    """Attention gets Q4_K and Q5_K there, not Q8_0."""
    mixtral = ModelFacts("llama", 32, 32, 8, n_expert=8)
    names = [f"blk.9.{part}.weight" for part in ("attn_v", "attn_k", "attn_output")]
    assert types_of(recipe, mixtral, *names) == ["Q4_K", "Q4_K", "Q5_K"]


def test_mixes_of_low_bits_do_not_know_70b() -> None:
    """Values stay Q4_K in a Llama 3 70B of 1 or 2 bits; from 3 on they get Q5_K."""
    facts = ModelFacts("llama", 80, 64, 8)
    assert set(per_layer("IQ2_XS", facts, "attn_v")) == {"Q4_K"}
    assert set(per_layer("IQ3_XS", facts, "attn_v")) == {"Q5_K"}


def test_mixes_of_low_bits_count_ffn_down_also_with_experts() -> None:
    """The first eighth is 4 tensors, here of layers 2 and 4, not layers 0 to 3."""
    facts = ModelFacts("deepseek2", 32, 16, 16, n_expert=64)
    names = [
        f"blk.{i}.ffn_down_{s}.weight" for i in (2, 4, 6) for s in ("exps", "shexp")
    ]
    expected = ["Q2_K"] * 4 + ["IQ2_XXS"] * 2
    assert types_of("IQ2_XXS", facts, *names) == expected


def test_iq3_xs_saves_on_queries_and_the_middle_layers() -> None:
    """attn_q and attn_k are IQ3_XXS, gate and up between the outer eighths."""
    middle = [("IQ3_S", 4), ("IQ3_XXS", 24), ("IQ3_S", 4)]
    assert runs(per_layer("IQ3_XS", DENSE, "ffn_gate")) == middle
    assert runs(per_layer("IQ3_XS", DENSE, "ffn_up")) == middle
    assert runs(per_layer("IQ3_XS", DENSE, "attn_q")) == [("IQ3_XXS", 32)]
    assert runs(per_layer("IQ3_XS", DENSE, "attn_k")) == [("IQ3_XXS", 32)]


@pytest.mark.parametrize("recipe", ["IQ3_XXS", "IQ4_NL", "IQ4_XS"])
def test_importance_makes_a_better_ffn_down_unnecessary(recipe: str) -> None:
    """With an importance matrix all of ffn_down has the base type."""
    facts = ModelFacts("qwen3", 32, 16, 8, has_importance=True)
    assert runs(per_layer(recipe, facts, "ffn_down")) == [(recipe, 32)]
    assert runs(per_layer(recipe, facts, "attn_v")) == [(recipe, 32)]


@pytest.mark.parametrize("architecture", ["deepseek2", "bailingmoe3"])
def test_mxfp4_moe(architecture: str) -> None:
    """Stacked matrices are MXFP4, in bailingmoe3 only experts; all others Q8_0."""
    names = [
        "blk.0.ffn_up_exps.weight",
        "blk.0.attn_k_b.weight",
        "blk.0.attn_v.weight",
        "token_embd.weight",
        "output.weight",
    ]
    facts = ModelFacts(architecture, 4, 8, 8, n_expert=8)
    tensors = [
        (name, (8, 64, 512) if is_stacked(name) else (64, 512), QuantType.F16)
        for name in names
    ]
    assigned = assign_types(Recipe.parse("MXFP4_MOE"), facts, tensors)
    heads = "Q8_0" if architecture == "bailingmoe3" else "MXFP4"
    expected = ["MXFP4", heads, "Q8_0", "Q8_0", "Q8_0"]
    assert [assigned[name].type.name for name in names] == expected


def test_experts_are_placed_by_the_layer_in_their_name() -> None:
    """Shared experts do not move the count on, and a dense first layer is skipped."""
    facts = ModelFacts("deepseek2", 32, 16, 16, n_expert=64)
    names = [
        f"blk.{i}.ffn_down_{s}.weight" for i in (2, 4, 6) for s in ("exps", "shexp")
    ]
    expected = ["Q6_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q6_K"]
    assert types_of("Q4_K_M", facts, *names) == expected


@pytest.mark.parametrize("name", ["ffn_down_exps.weight", "blk.32.ffn_up_exps.weight"])
def test_experts_without_a_layer_are_refused(name: str) -> None:
    """The error names the tensor and the layers that there are."""
    facts = ModelFacts("deepseek2", 32, 16, 16, n_expert=64)
    with pytest.raises(FormatError, match=rf"'{name}'.*32 layers.*blk\.31\."):
        types_of("Q4_K_M", facts, name)


@pytest.mark.parametrize(
    ("recipe", "attn_output", "ffn_down"),
    [
        ("Q2_K", "Q2_K", [("Q3_K", 16)]),
        ("Q3_K_M", "Q3_K", [("Q5_K", 1), ("Q4_K", 1), ("Q3_K", 2), ("Q4_K", 1)]),
        ("Q3_K_L", "Q4_K", [("Q4_K", 16)]),
        ("Q4_K_S", "Q4_K", [("Q4_K", 16)]),
        ("Q4_K_M", "Q4_K", [("Q6_K", 1), ("Q5_K", 1), ("Q4_K", 2), ("Q5_K", 1)]),
        ("Q5_K_M", "Q5_K", [("Q6_K", 2), ("Q5_K", 2), ("Q6_K", 1)]),
    ],
)
def test_falcon(recipe: str, attn_output: str, ffn_down: list[tuple[str, int]]) -> None:
    """Falcon has thriftier mixes of its own."""
    falcon = ModelFacts("falcon", 16, 71, 1)
    assert set(per_layer(recipe, falcon, "attn_output")) == {attn_output}
    assert runs(per_layer(recipe, falcon, "ffn_down"))[: len(ffn_down)] == ffn_down


def test_fused_and_plain_values_share_one_count() -> None:
    """attn_qkv, attn_v and attn_kv_b count together, by layer and then by name."""
    names = [
        "blk.10.attn_v.weight",
        "blk.2.attn_qkv.weight",
        "blk.0.attn_kv_b.weight",
        "blk.1.attn_v.weight",
    ]
    assert types_of("Q3_K_M", DENSE, *names) == ["Q4_K", "Q4_K", "Q5_K", "Q5_K"]


def test_tensors_outside_the_layers_come_first() -> None:
    """Names that do not begin with "blk." are visited before layer 0."""
    names = ["blk.0.attn_v.weight", "v.blk.0.attn_v.weight", "v.blk.1.attn_v.weight"]
    assert types_of("Q3_K_M", DENSE, *names) == ["Q4_K", "Q5_K", "Q5_K"]


@pytest.mark.parametrize(("recipe", "better"), [("Q4_0", "Q4_1"), ("Q5_0", "Q5_1")])
def test_importance_guards_the_first_ffn_down(recipe: str, better: str) -> None:
    """With an importance matrix the first eighth of ffn_down gets a minimum."""
    facts = ModelFacts("qwen3", 32, 16, 8, has_importance=True)
    assert runs(per_layer(recipe, facts, "ffn_down")) == [(better, 4), (recipe, 28)]


# --- row length and importance ----------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "n_cols", "type", "fallback_from"),
    [
        ("Q2_K", 576, "Q4_0", "Q2_K"),
        ("Q3_K_S", 576, "Q4_0", "Q3_K"),
        ("Q4_K_S", 576, "Q5_0", "Q4_K"),
        ("Q5_K_S", 576, "Q5_1", "Q5_K"),
        ("Q6_K", 576, "Q8_0", "Q6_K"),
        ("Q4_K_S", 48, "F16", "Q4_K"),
        ("Q4_0", 48, "F16", "Q4_0"),
        ("Q4_1", 48, "F16", "Q4_1"),
        ("Q5_0", 48, "F16", "Q5_0"),
        ("Q5_1", 48, "F16", "Q5_1"),
        ("Q8_0", 48, "F16", "Q8_0"),
        ("IQ1_S", 576, "IQ4_NL", "IQ1_S"),
        ("IQ1_M", 576, "IQ4_NL", "IQ1_M"),
        ("IQ2_XXS", 576, "IQ4_NL", "IQ2_XXS"),
        ("IQ2_XS", 576, "IQ4_NL", "IQ2_XS"),
        ("IQ2_M", 576, "IQ4_NL", "IQ2_S"),
        ("IQ3_S", 576, "IQ4_NL", "IQ3_S"),
        ("IQ4_XS", 576, "IQ4_NL", "IQ4_XS"),
        ("IQ4_NL", 48, "F16", "IQ4_NL"),
        ("TQ1_0", 576, "Q4_0", "TQ1_0"),
        ("TQ2_0", 576, "Q4_0", "TQ2_0"),
        ("Q2_0", 608, "Q4_0", "Q2_0"),
        ("Q2_0", 48, "F16", "Q2_0"),
    ],
)
def test_fallback(recipe: str, n_cols: int, type: str, fallback_from: str) -> None:
    """Rows that are no whole number of blocks get a type with smaller blocks."""
    tensors = [("blk.9.attn_q.weight", (8, n_cols), QuantType.F32)]
    assigned = assign_types(Recipe.parse(recipe), DENSE, tensors)
    assert assigned["blk.9.attn_q.weight"] == Assignment(
        QuantType.parse(type), "base type", QuantType.parse(fallback_from)
    )


@pytest.mark.parametrize(("type", "n_cols"), [("Q1_0", 576), ("NVFP4", 608)])
def test_types_without_a_fallback_are_refused(type: str, n_cols: int) -> None:
    """As llama-quantize does: nothing takes over from larger blocks than 32."""
    with pytest.raises(
        UnsupportedTypeError, match=rf"'a'.*{n_cols}.*{type}.*`tensor_types`"
    ):
        fitting("a", QuantType.parse(type), n_cols, "asked for")


def test_reason_names_the_rule() -> None:
    """A report can say why a tensor got more bits."""
    tensors = [("blk.0.ffn_down.weight", (8, 512), QuantType.F32)]
    assigned = assign_types(Recipe.parse("Q4_K_S"), DENSE, tensors)
    assert assigned["blk.0.ffn_down.weight"] == Assignment(
        QuantType.Q5_K, "feed-forward down: first eighth of the layers"
    )


@pytest.mark.parametrize(
    ("recipe", "name", "type", "expected"),
    [
        ("Q2_K_S", "blk.0.attn_q.weight", "Q2_K", True),
        ("Q2_K_S", "blk.0.attn_q.weight", "Q4_K", False),
        ("Q2_K_S", "token_embd.weight", "Q2_K", False),
        ("Q2_K_S", "output.weight", "Q2_K", False),
        ("Q2_K", "blk.0.attn_q.weight", "Q2_K", False),
        ("Q4_K_M", "blk.0.attn_q.weight", "IQ2_XXS", True),
    ],
)
def test_requires_importance(recipe: str, name: str, type: str, expected: bool) -> None:
    """Only the lowest bits need importance, and Q2_K only in a Q2_K_S file."""
    needs = requires_importance(Recipe.parse(recipe), name, QuantType.parse(type))
    assert needs is expected


@pytest.mark.parametrize(
    ("recipe", "name", "type", "expected"),
    [
        ("IQ1_S", "blk.0.attn_q.weight", "IQ1_S", "Q2_K"),
        ("IQ2_M", "blk.0.attn_q.weight", "IQ2_S", "Q2_K"),
        ("IQ3_XXS", "blk.0.attn_q.weight", "IQ3_XXS", "IQ3_S"),
        ("Q2_K_S", "blk.0.attn_q.weight", "Q2_K", "Q3_K"),
        ("Q2_K_S", "blk.0.attn_q.weight", "IQ2_XS", "Q3_K"),
        ("IQ1_S", "token_embd.weight", "Q2_K", "Q2_K"),
        ("IQ4_XS", "blk.0.attn_q.weight", "IQ4_XS", "IQ4_XS"),
    ],
)
def test_importance_fallback(recipe: str, name: str, type: str, expected: str) -> None:
    """A tensor that the matrix lacks gets the next type up that is of use without."""
    parsed, wanted = Recipe.parse(recipe), QuantType.parse(type)
    assert importance_fallback(parsed, name, wanted) is QuantType.parse(expected)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_every_type_that_needs_importance_has_a_fallback(recipe: Recipe) -> None:
    """The fallback needs none, and fits every row that the type fits."""
    for type in recipe.needs_importance:
        found = importance_fallback(recipe, "blk.0.attn_q.weight", type)
        assert found not in recipe.needs_importance
        assert found.block_size == type.block_size
        assert found.bits_per_weight > type.bits_per_weight
