"""Patterns from users and files: work is bounded before a search starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from quantkit import FormatError, Overrides, QuantType
from quantkit.errors import OptionError
from quantkit.patterns import compiled, searched
from quantkit.recipes.files import read_recipe
from quantkit.recipes.overrides import TensorType

NAMES = ("blk.17.ffn_gate_exps.weight", "token_embd.weight", "a" * 63, "")


@pytest.mark.parametrize(
    "pattern",
    [
        "ffn_down",
        r"blk\.(\d+)\.ffn_(gate|up|down)_exps\.weight",
        r"^blk\.([0-9]|1[0-9]|2[0-5])\..*exps",
        r"(.*)\.(\d+)\.(.*)_exps\.(weight|bias)$",
        ".*a.*e.*i.*",
        r"(?!.*down)(?=.*ffn).*weight",
        r"(?<=ffn_)gate",
        r"([a-z]+_)+exps",
        r"(?:(?:a{1000}){1000}){1000}|(a)(?(1)b|c)|(a)\2",
        "|".join(rf"blk\.{i}\." for i in range(300)),
        "",
    ],
)
def test_usual_patterns(pattern: str) -> None:
    """The match is that of `re`."""
    for name in NAMES:
        found = searched(compiled(pattern, re.IGNORECASE), name)
        wanted = re.search(pattern, name, re.IGNORECASE)
        assert (found and found.span()) == (wanted and wanted.span())


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b",
        "(a|a)*b",
        "(A|aa)*b{50}",
        r"(\w+\s*)+\d!",
        "(?=(.*)*z)",
        "((((a*)*)*)*)*b",
        ".*.*.*.*.*.*.*b",
        "(a|a)" * 40 + "b",
        "(a?){60}a{60}",
        r"(a*)*\1b",
    ],
)
def test_patterns_with_too_many_ways(pattern: str) -> None:
    with pytest.raises(OptionError, match="in more than 1,000,000 ways"):
        searched(compiled(pattern, re.IGNORECASE), "a" * 63)
    with pytest.raises(OptionError, match="in more than 1,000,000 ways"):
        TensorType(pattern, QuantType.Q8_0).matches("a" * 63)


def test_recipe_files_of_other_kinds(tmp_path: Path) -> None:
    """Special files do not wait; deep nesting and huge files are named."""
    with pytest.raises(FormatError, match="/dev/null is not a regular file"):
        read_recipe("/dev/null")
    path = tmp_path / "recipe.toml"
    path.write_text("a = " + "[" * 50_000)
    with pytest.raises(FormatError, match=r"recipe.toml is nested too deeply"):
        read_recipe(path)
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(FormatError, match=r"recipe.toml has 1,073,741,824 bytes"):
        read_recipe(path)
    path.write_text('tensor_types = [{pattern = 7, type = "Q8_0"}]')
    with pytest.raises(FormatError, match=r"recipe.toml: 7 is not a regular"):
        read_recipe(path)


@pytest.mark.parametrize(
    "pattern", ["(", "a{1,99999999999}", "(" * 5000 + ")" * 5000, "a" * 20_000]
)
def test_no_regular_expressions(pattern: str) -> None:
    with pytest.raises(FormatError, match="is not a regular expression"):
        compiled(pattern, error=FormatError)
    with pytest.raises(OptionError, match="is not a regular expression"):
        Overrides([f"{pattern}=Q8_0"])  # type: ignore[arg-type]
