"""Refuse edited metadata with which a file could not be read.

Source: the types that llama.cpp's llama-model-loader.cpp requires, build 11434.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import FormatError, OptionError
from ..gguf.keys import Field, ValueType
from ..gguf.layout import ALIGNMENT_KEY, alignment_of
from ..settings import shown

__all__ = ["check_against_model", "check_edited"]

INTEGERS = frozenset(
    kind for kind in ValueType if kind.name.removeprefix("U").startswith("INT")
)
TEXT_KEYS = ("general.architecture", "general.type", "tokenizer.ggml.model")
COUNT_KEYS = ("general.file_type", "general.quantization_version")


def check_edited(metadata: Mapping[str, Field]) -> None:
    """Refuse keys about the files themselves, and wrong types of keys that all read.

    Raises:
        OptionError: the message names the key.
    """
    for key, field in metadata.items():
        if not isinstance(key, str) or not key:
            raise OptionError(f"`metadata` has the key {key!r}; expected names of keys")
        if key.startswith("split."):
            raise OptionError(
                f"`metadata` sets {key!r}, which describes the files of a split model; "
                "choose `split_max_bytes` or `keep_split` instead"
            )
        wanted = {TEXT_KEYS: ValueType.STRING, COUNT_KEYS: ValueType.UINT32}
        for keys, kind in wanted.items():
            if key in keys and field.type is not kind:
                raise _wrong_type(key, field, kind.name)
    if metadata.get("general.architecture", Field(ValueType.STRING, "x")).value == "":
        raise OptionError("`metadata` sets general.architecture to an empty text")
    if ALIGNMENT_KEY in metadata:
        try:
            alignment_of(metadata)
        except FormatError as error:
            raise OptionError(f"`metadata`: {error}") from None


def check_against_model(
    metadata: Mapping[str, Field], model: Mapping[str, Field]
) -> None:
    """Refuse a type other than that of the same key in the model.

    A UINT32 may replace any integer, because most keys require it, and one number may
    replace a list with one number per layer.

    Raises:
        OptionError: the message names the key and both types.
    """
    for key, field in metadata.items():
        old = model.get(key)
        if old is None or field.type is old.type:
            continue
        is_list = old.type is ValueType.ARRAY and not key.startswith("tokenizer.")
        kind = old.item_type if is_list else old.type
        is_count = field.type is ValueType.UINT32 and kind in INTEGERS
        if field.type is not kind and not is_count:
            name = "ARRAY" if kind is None else kind.name
            raise _wrong_type(key, field, name)


def _wrong_type(key: str, field: Field, expected: str) -> OptionError:
    return OptionError(
        f"`metadata` sets {key!r} to {shown(field.value)}, a {field.type.name}; "
        f"readers expect {expected} there"
    )
