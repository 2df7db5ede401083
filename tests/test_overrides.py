"""Types chosen by the user: what beats what, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit._native import needs_importance
from quantkit.errors import FormatError, OptionError, UnsupportedTypeError
from quantkit.gguf import GGUFFile
from quantkit.recipes import ModelFacts, Recipe, assign_types, requires_importance
from quantkit.recipes.files import (
    chosen_recipe,
    read_recipe,
    recipe_from_dict,
    recipe_of_file,
    recipe_to_dict,
)
from quantkit.recipes.overrides import Overrides, TensorType, assign_with_overrides
from quantkit.types import QuantType as T

N_LAYERS = 16
NAMES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_down", "ffn_up", "ffn_gate")
UNTIED = ModelFacts("llama", N_LAYERS, 8, 2)
TIED = ModelFacts("llama", N_LAYERS, 8, 2, tied=True)
EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"


def model(
    n_cols: int = 512, *, tied: bool = False
) -> list[tuple[str, tuple[int, ...], T]]:
    """Tensors of a dense model."""
    layers = [f"blk.{i}.{n}.weight" for i in range(N_LAYERS) for n in NAMES]
    names = [EMBEDDING, *layers, *([] if tied else [OUTPUT])]
    norms = [f"blk.{i}.attn_norm.weight" for i in range(N_LAYERS)]
    return [
        *((name, (8, n_cols), T.F16) for name in names),
        *((name, (n_cols,), T.F32) for name in norms),
    ]


def types(
    recipe: str, *, tied: bool = False, n_cols: int = 512, **chosen: Any
) -> dict[str, str]:
    """Type names by tensor name."""
    assigned = assign_with_overrides(
        Recipe.parse(recipe),
        TIED if tied else UNTIED,
        model(n_cols, tied=tied),
        Overrides(**chosen),
    )
    return {name: assignment.type.name for name, assignment in assigned.items()}


def patterns(*texts: str) -> tuple[TensorType, ...]:
    return tuple(map(TensorType.parse, texts))


@pytest.mark.parametrize("recipe", ["Q4_K_M", "Q3_K_M", "Q8_0", "F16"])
def test_without_choices_the_recipe_decides(recipe: str) -> None:
    """Same assignments, in the same order."""
    plain = assign_types(Recipe.parse(recipe), UNTIED, model())
    chosen = assign_with_overrides(Recipe.parse(recipe), UNTIED, model(), Overrides())
    assert list(chosen.items()) == list(plain.items())


def test_the_first_pattern_that_matches_decides() -> None:
    """Anywhere in the name, in any case; norms stay what they are."""
    found = types(
        "Q4_K_M", tensor_types=patterns("BLK.1.FFN=q8_0", r"ffn_(up|down)=q5_0")
    )
    assert found["blk.1.ffn_up.weight"] == "Q8_0"
    assert found["blk.11.ffn_up.weight"] == "Q5_0"  # "." matches "1" or "."
    assert found["blk.2.ffn_down.weight"] == "Q5_0"
    assert found["blk.2.ffn_gate.weight"] == "Q4_K"
    assert found["blk.1.attn_norm.weight"] == "F32"


def test_tensors_that_are_decided_do_not_count() -> None:
    """Q4_K_S makes the first 4 values Q5_K; two decided by hand move that on."""
    found = types("Q4_K_S", tensor_types=patterns(r"blk\.[02]\.attn_v=q8_0"))
    values = [found[f"blk.{i}.attn_v.weight"] for i in range(8)]
    assert values == ["Q8_0", "Q5_K", "Q8_0", *["Q5_K"] * 3, "Q4_K", "Q4_K"]


def test_pure_gives_the_base_type_to_all() -> None:
    """Output head and embedding too; patterns still go first."""
    found = types("Q3_K_M", pure=True, tensor_types=patterns("attn_q=Q6_K"))
    assert found[OUTPUT] == found[EMBEDDING] == found["blk.0.attn_v.weight"] == "Q3_K"
    assert found["blk.3.attn_q.weight"] == "Q6_K"


@pytest.mark.parametrize("pure", [False, True])
def test_output_and_embedding_have_options_of_their_own(pure: bool) -> None:
    """They go before patterns."""
    found = types(
        "Q4_K_M",
        pure=pure,
        output_tensor_type=T.Q8_0,
        token_embedding_type=T.Q5_0,
        tensor_types=patterns("token_embd|^output=Q4_0", "ffn=Q4_1"),
    )
    assert (found[OUTPUT], found[EMBEDDING]) == ("Q8_0", "Q5_0")


def test_a_tied_embedding_is_the_output() -> None:
    """It gets the output's type, unless an option names the embedding."""
    assert types("Q4_K_M", tied=True, output_tensor_type=T.Q8_0)[EMBEDDING] == "Q8_0"
    both = types(
        "Q4_K_M",
        tied=True,
        output_tensor_type=T.Q8_0,
        token_embedding_type=T.Q5_0,
    )
    assert both[EMBEDDING] == "Q5_0"
    named = types(
        "Q4_K_M",
        tied=True,
        output_tensor_type=T.Q8_0,
        tensor_types=patterns("token_embd=Q4_1"),
    )
    assert named[EMBEDDING] == "Q4_1"


def test_a_pattern_may_name_the_per_layer_embedding() -> None:
    """It follows the embedding's option otherwise."""
    name = "per_layer_token_embd.weight"
    for texts, expected in (((), T.Q5_0), (("per_layer=Q8_0",), T.Q8_0)):
        overrides = Overrides(patterns(*texts), token_embedding_type=T.Q5_0)
        tensors = [*model(), (name, (8, 512), T.F16)]
        recipe = Recipe.parse("Q4_K_M")
        assigned = assign_with_overrides(recipe, UNTIED, tensors, overrides)
        assert assigned[name].type is expected
        assert assigned[EMBEDDING].type is T.Q5_0


def test_the_output_can_be_left_alone() -> None:
    """Whatever else is said about it."""
    found = types(
        "Q4_K_M",
        leave_output_tensor=True,
        output_tensor_type=T.Q8_0,
        tensor_types=patterns("output=Q4_0"),
    )
    assert found[OUTPUT] == "F16"
    assert found["blk.0.attn_output.weight"] == "Q4_0"


def test_rows_that_do_not_fit_fall_back() -> None:
    """Whoever chose the type: 576 columns are no multiple of 256."""
    found = types(
        "Q4_K_M",
        n_cols=576,
        pure=True,
        output_tensor_type=T.Q6_K,
        tensor_types=patterns("ffn=Q5_K"),
    )
    assert found[OUTPUT] == "Q8_0"
    assert found["blk.0.ffn_up.weight"] == "Q5_1"
    assert found["blk.0.attn_q.weight"] == "Q5_0"


def test_choices_hold_for_recipes_of_plain_numbers() -> None:
    """llama-quantize ignores them there."""
    found = types("F16", tensor_types=patterns("ffn=Q8_0"), output_tensor_type=T.BF16)
    assert (found["blk.0.ffn_up.weight"], found[OUTPUT]) == ("Q8_0", "BF16")


@pytest.mark.parametrize(
    ("text", "words"),
    [("absent=Q8_0", "matches no tensor name"), ("norm=Q8_0", "never quantized")],
)
def test_a_pattern_without_effect_is_refused(text: str, words: str) -> None:
    """llama-quantize passes over it in silence."""
    with pytest.raises(OptionError, match=words):
        types("Q4_K_M", tensor_types=patterns(text))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Q8_0", OptionError),
        ("=Q8_0", OptionError),
        ("(=Q8_0", OptionError),
        ("ffn=Q4_X", UnsupportedTypeError),
    ],
)
def test_what_is_no_pattern_and_type_is_refused(text: str, error: type) -> None:
    """The message says what is wrong with it."""
    with pytest.raises(error, match=r"REGEX=TYPE|regular expression|did you mean"):
        TensorType.parse(text)


RECIPE = """
base = "q3_k"
pure = true
output_tensor_type = "Q8_0"
token_embedding_type = "q5_0"
leave_output_tensor = true
tensor_types = [
    { pattern = 'blk\\.1\\.', type = "Q6_K" },
    { pattern = "ffn", type = "q4_0" },
]
"""


def test_a_recipe_file_says_what_options_say(tmp_path: Path) -> None:
    """Every key; and what it holds survives a round trip."""
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE)
    base, overrides = read_recipe(file)
    expected = Overrides(
        patterns(r"blk\.1\.=Q6_K", "ffn=Q4_0"), True, T.Q8_0, T.Q5_0, True
    )
    assert (base, overrides) == (Recipe.parse("Q3_K_M"), expected)
    assert base is not None
    assert recipe_from_dict(recipe_to_dict(base, overrides), "x") == (base, overrides)


def test_the_command_line_goes_before_a_recipe_file(tmp_path: Path) -> None:
    """Its type replaces the base, its patterns come first."""
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE)
    own = Overrides(patterns("attn=Q8_0"), output_tensor_type=T.F16)
    base, overrides = chosen_recipe("Q2_K", own, recipe=file)
    assert base.name == "Q2_K"
    assert [t.pattern for t in overrides.tensor_types] == ["attn", r"blk\.1\.", "ffn"]
    assert overrides.output_tensor_type is T.F16
    with pytest.raises(OptionError, match="cannot be combined"):
        chosen_recipe("Q2_K", own, file, file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base = ", "not a TOML file"),
        ('bas = "Q4_0"', "did you mean base"),
        ('base = "Q4_9"', "unknown recipe"),
        ("pure = 1", "expected a bool"),
        ('output_tensor_type = "Q9"', "unknown type"),
        ("tensor_types = ['ffn=Q8_0']", "a pattern and a type"),
        ("tensor_types = [{ pattern = '(', type = 'Q8_0' }]", "regular expression"),
    ],
)
def test_a_wrong_recipe_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """The message names the file, and what is wrong."""
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(FormatError, match=words) as error:
        read_recipe(file)
    assert str(file) in str(error.value)


def test_a_recipe_without_base_needs_one(tmp_path: Path) -> None:
    """The message says how to name it."""
    file = tmp_path / "recipe.toml"
    file.write_text("pure = true")
    with pytest.raises(OptionError, match="no base recipe"):
        chosen_recipe(None, Overrides(), recipe=file)


def test_types_are_taken_over_from_another_file(demo_f16: Path, tmp_path: Path) -> None:
    """All of them, and the file type; so the file is the same."""
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    own = Overrides(patterns("attn_q=Q8_0", "blk.2.ffn_up=F16"))
    qk.quantize_file(demo_f16, first, "Q5_K_M", overrides=own)
    base, overrides = chosen_recipe(None, Overrides(), recipe_from=first)
    qk.quantize_file(demo_f16, second, base, overrides=overrides)
    assert second.read_bytes() == first.read_bytes()


def test_a_pattern_goes_before_types_taken_over(demo_f16: Path, tmp_path: Path) -> None:
    """Of tensors that are quantized at all."""
    own = Overrides(patterns(r"blk\.1=Q8_0"), output_tensor_type=T.Q5_0)
    base, overrides = chosen_recipe("Q4_0", own, recipe_from=demo_f16)
    qk.quantize_file(demo_f16, tmp_path / "out.gguf", base, overrides=overrides)
    with GGUFFile(tmp_path / "out.gguf") as file:
        found = {name: t.type for name, t in file.tensors.items()}
    assert found["blk.1.ffn_up.weight"] is T.Q8_0
    assert found["blk.1.ffn_norm.weight"] is T.F32
    assert found["blk.0.ffn_up.weight"] is T.F16
    assert found[EMBEDDING] is T.Q5_0  # the output head of this model


def test_types_of_another_model_are_refused(demo_f16: Path, tmp_path: Path) -> None:
    """A tensor that the other file lacks is named."""
    less = tmp_path / "less.gguf"
    qk.quantize_file(
        demo_f16, less, "Q4_0", edits=qk.Edits(prune_layers=frozenset([3]))
    )
    base, overrides = recipe_of_file(less)
    assert base is not None
    with pytest.raises(OptionError, match=r"no tensor blk\.3\."):
        qk.quantize_file(demo_f16, tmp_path / "o.gguf", base, overrides=overrides)


def test_a_type_without_quantizer_is_refused_before_work(
    demo_f16: Path, tmp_path: Path
) -> None:
    """A name that GGUF knows is not yet a type to quantize to."""
    own = Overrides(patterns("ffn_up=Q8_K"))
    with pytest.raises(UnsupportedTypeError, match=r"ffn_up.*Q8_K"):
        qk.quantize_file(demo_f16, tmp_path / "out.gguf", "Q4_0", overrides=own)
    assert list(tmp_path.iterdir()) == []


def importance_but(path: Path, *lacking: str) -> dict[str, np.ndarray]:
    """An importance for every matrix of a model but some."""
    with GGUFFile(path) as file:
        return {
            name: np.ones(tensor.n_cols, np.float32)
            for name, tensor in file.tensors.items()
            if len(tensor.shape) > 1 and name not in lacking
        }


def test_what_the_importance_matrix_lacks_is_refused_before_work(
    demo_f16: Path, tmp_path: Path
) -> None:
    """llama-quantize gives up in the middle of its work; all tensors are counted."""
    lacking = [f"blk.{i}.ffn_up.weight" for i in range(4)]
    importance = importance_but(demo_f16, *lacking)
    named = r"no entry for blk\.0\.ffn_up\.weight \(Q2_K\), .* and 1 more.*fallback"
    with pytest.raises(UnsupportedTypeError, match=named):
        qk.quantize_file(demo_f16, tmp_path / "o.gguf", "Q2_K_S", importance=importance)
    assert list(tmp_path.iterdir()) == []


def test_what_the_importance_matrix_lacks_can_get_a_better_type(
    demo_f16: Path, tmp_path: Path
) -> None:
    """When asked for, and the report says which tensors."""
    importance = importance_but(demo_f16, "blk.1.ffn_up.weight")
    report = qk.quantize_file(
        demo_f16,
        tmp_path / "out.gguf",
        "Q2_K_S",
        importance=importance,
        missing_importance="fallback",
    )
    (lacking,) = [t for t in report.fallbacks if "importance" in t.reason]
    assert lacking.name == "blk.1.ffn_up.weight"
    assert (lacking.fallback_from, lacking.type) == (T.Q2_K, T.Q3_K)


def test_without_any_importance_matrix_all_can_fall_back(
    demo_f16: Path, tmp_path: Path
) -> None:
    """Every tensor whose type needs importance, and no other."""
    out = tmp_path / "out.gguf"
    report = qk.quantize_file(demo_f16, out, "IQ2_XXS", missing_importance="fallback")
    assert {t.fallback_from for t in report.fallbacks} == {T.IQ2_XXS}
    assert {t.type for t in report.fallbacks} == {T.Q2_K}
    assert len(report.fallbacks) == sum(
        "no importance" in t.reason for t in report.tensors
    )
    dry = qk.quantize_file(
        demo_f16, out, "IQ2_XXS", missing_importance="fallback", dry_run=True
    )
    assert dry.tensors == report.tensors


def test_types_that_exist_with_importance_only_are_refused_everywhere(
    demo_f16: Path, tmp_path: Path
) -> None:
    """In the embedding too, which other low types may have without."""
    own = Overrides(token_embedding_type=T.IQ2_XS)
    with pytest.raises(UnsupportedTypeError, match=r"token_embd\.weight \(IQ2_XS\)"):
        qk.quantize_file(demo_f16, tmp_path / "o.gguf", "Q4_0", overrides=own)
    assert list(tmp_path.iterdir()) == []
    for type in T:
        if needs_importance(type):
            assert requires_importance(qk.Recipe.parse("Q4_0"), "output.weight", type)


def test_a_choice_for_missing_importance_that_does_not_exist(demo_f16: Path) -> None:
    """The message has the choices."""
    with pytest.raises(OptionError, match="expected refuse or fallback"):
        qk.quantize_file(demo_f16, "o.gguf", "Q4_0", missing_importance="ignore")
