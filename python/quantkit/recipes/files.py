"""Recipes in TOML files, and recipes taken from another GGUF file.

A recipe file has a base recipe and changes to it.  All keys are optional; without
`base`, the recipe must be named on the command line or by the caller:

    base = "Q4_K_M"
    pure = false
    output_tensor_type = "Q8_0"
    token_embedding_type = "Q6_K"
    leave_output_tensor = false
    tensor_types = [                        # the first pattern that matches decides
        { pattern = "blk\\.[01]\\.ffn_down", type = "Q6_K" },
        { pattern = "attn_v", type = "Q5_K" },
    ]

A table `types` may give the type of every tensor by name, instead of the base's rules;
a recipe taken from another GGUF file has this form.

`quantkit quantize --provenance` stores the same keys as JSON in a file's metadata.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import FormatError, OptionError, UnsupportedTypeError
from ..files.inputs import read_stream
from ..gguf.keys import Field
from ..gguf.reader import GGUFFile
from ..settings import shown
from ..suggestions import suggest
from ..types import QuantType
from .mixes import RECIPES, Recipe
from .overrides import Overrides, TensorType

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "chosen_recipe",
    "read_recipe",
    "recipe_from_dict",
    "recipe_of_file",
    "recipe_to_dict",
    "recorded_recipe",
]

MAX_BYTES = 1 << 24
_KINDS: Mapping[str, type] = {
    "base": str,
    "pure": bool,
    "output_tensor_type": str,
    "token_embedding_type": str,
    "leave_output_tensor": bool,
    "tensor_types": list,
    "types": dict,
}


def chosen_recipe(
    name: str | None,
    overrides: Overrides,
    recipe: str | Path | None = None,
    recipe_from: str | Path | None = None,
) -> tuple[Recipe, Overrides]:
    """Combine a recipe name, overrides, and a recipe file or another GGUF file.

    Args:
        name: the base recipe; takes precedence over the base of a file.
        overrides: take precedence over those of a file.
        recipe: a recipe file.
        recipe_from: a GGUF file whose types are used.

    Raises:
        OptionError: both files are given, or there is no base recipe.
        FormatError: a file is damaged or has another format.
        OSError: a file cannot be read.
    """
    if recipe is not None and recipe_from is not None:
        raise OptionError("`recipe` and `recipe_from` cannot be combined")
    base, more = None, Overrides()
    if recipe is not None:
        base, more = read_recipe(recipe)
    elif recipe_from is not None:
        base, more = recipe_of_file(recipe_from)
    if name is not None:
        base = Recipe.parse(name)
    if base is None:
        raise OptionError(
            f"{recipe or recipe_from} has no base recipe; name one, such as Q4_K_M"
        )
    return base, overrides.over(more)


def read_recipe(path: str | Path) -> tuple[Recipe | None, Overrides]:
    """Read a TOML recipe file: its base (None if it has none) and its overrides.

    Raises:
        FormatError: the file is not TOML, or not a recipe.
        OSError: the file cannot be read.
    """
    content = read_stream(Path(path))
    if len(content) > MAX_BYTES:
        raise FormatError(
            f"{path} has {len(content):,} bytes; a recipe file has less than "
            f"{MAX_BYTES:,}"
        )
    try:
        data = tomllib.loads(content.decode())
    except ValueError as error:  # a TOMLDecodeError, or not UTF-8
        raise FormatError(f"{path} is not a TOML file: {error}") from None
    except RecursionError:
        raise FormatError(f"{path} is nested too deeply to be a recipe") from None
    return recipe_from_dict(data, str(path))


def recipe_from_dict(
    data: Mapping[str, Any], where: str
) -> tuple[Recipe | None, Overrides]:
    """The recipe with the keys of a recipe file.

    Args:
        data: the keys and values.
        where: the name of their source, for messages.

    Raises:
        FormatError: a key is unknown, or its value is not valid.
    """
    for key, value in data.items():
        if key not in _KINDS:
            near = suggest(key, _KINDS)
            raise FormatError(f"{where}: unknown key {shown(key)}{near}")
        if not isinstance(value, _KINDS[key]):
            raise FormatError(
                f"{where}: {key} is {shown(value)}; expected a {_KINDS[key].__name__}"
            )
    try:
        base = Recipe.parse(data["base"]) if "base" in data else None
        return base, _overrides(data)
    except (OptionError, UnsupportedTypeError) as error:
        raise FormatError(f"{where}: {error}") from None


def _overrides(data: Mapping[str, Any]) -> Overrides:
    output, embedding = (
        QuantType.parse(data[key]) if key in data else None
        for key in ("output_tensor_type", "token_embedding_type")
    )
    return Overrides(
        tuple(_tensor_type(entry) for entry in data.get("tensor_types", ())),
        data.get("pure", False),
        output,
        embedding,
        data.get("leave_output_tensor", False),
        {name: QuantType.parse(type) for name, type in data["types"].items()}
        if "types" in data
        else None,
    )


def _tensor_type(entry: Any) -> TensorType:
    if not isinstance(entry, dict) or set(entry) != {"pattern", "type"}:
        raise OptionError(
            f"tensor_types has {shown(entry)}; expected a pattern and a type, such as "
            '{ pattern = "ffn_down", type = "Q6_K" }'
        )
    return TensorType(entry["pattern"], QuantType.parse(entry["type"]))


def recipe_to_dict(recipe: Recipe, overrides: Overrides) -> dict[str, Any]:
    """The keys and values of a recipe file; `recipe_from_dict` reads them back."""
    output, embedding = overrides.output_tensor_type, overrides.token_embedding_type
    patterns = [
        {"pattern": choice.pattern, "type": choice.type.name}
        for choice in overrides.tensor_types
    ]
    types = {name: type.name for name, type in (overrides.types or {}).items()}
    data = {
        "base": recipe.name,
        "pure": overrides.pure,
        "output_tensor_type": output and output.name,
        "token_embedding_type": embedding and embedding.name,
        "leave_output_tensor": overrides.leave_output_tensor,
        "tensor_types": patterns,
        "types": types,
    }
    return {key: value for key, value in data.items() if value}


def recipe_of_file(path: str | Path) -> tuple[Recipe | None, Overrides]:
    """The recipe that gives every tensor its type in a GGUF file.

    The base is the recipe of the file's `general.file_type`, or None.

    Raises:
        FormatError: the file is damaged.
        OSError: the file cannot be read.
    """
    with GGUFFile(path) as file:
        types = {name: tensor.type for name, tensor in file.tensors.items()}
        return recorded_recipe(file.metadata), Overrides(types=types)


def recorded_recipe(metadata: Mapping[str, Field]) -> Recipe | None:
    """The recipe of a file's `general.file_type`, or None."""
    field = metadata.get("general.file_type")
    number = field and field.value
    return next((r for r in RECIPES.values() if r.file_type == number), None)
