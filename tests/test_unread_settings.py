"""Keys that llama.cpp reads for a family are read, refused, or known as harmless."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quantkit.errors import UnsupportedModelError
from quantkit.forward.unread_settings import HARMLESS, HARMLESS_IN, NEUTRAL
from quantkit.gguf.keys import Field, boolean, float32, uint32
from quantkit.models import check_model
from quantkit.sources.checking import shapes_of
from quantkit.sources.checkpoint import CheckpointSource

from .families.cases import CASES, RUN, Case
from .families.stored import checkpoint

CHANGED = {
    "attention.causal": boolean(False),
    "attention.key_length_swa": uint32(8),
    "attention.value_length_swa": uint32(8),
    "attention.temperature_scale": float32(0.1),
    "decision.block_count": uint32(1),
    "rope.dimension_count_swa": uint32(8),
    "rope.scaling.alpha": float32(50.0),
}


class Watched(dict[str, Field]):
    """Metadata that remembers the keys that it was asked for."""

    def __init__(self, fields: dict[str, Field]) -> None:
        super().__init__(fields)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)


def named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


@pytest.mark.parametrize("key", NEUTRAL)
def test_a_setting_that_changes_the_result_is_refused(key: str, tmp_path: Path) -> None:
    """The message names it and its value."""
    source = CheckpointSource(checkpoint(named("llama"), tmp_path), "f32")
    metadata = {**source.model_fields, f"llama.{key}": CHANGED[key]}
    message = f"llama.{key} is {CHANGED[key].value}; .* supports only"
    with pytest.raises(UnsupportedModelError, match=message):
        check_model(metadata, "llama", shapes_of(source))


def read_by_quantkit(folder: Path) -> dict[str, set[str]]:
    """The keys without prefix that each architecture reads, in any of its cases."""
    read: dict[str, set[str]] = {}
    for case in RUN:
        source = CheckpointSource(checkpoint(case, folder / case.name), "f32")
        metadata = Watched(dict(source.model_fields))
        arch = metadata["general.architecture"].value
        check_model(metadata, arch, shapes_of(source))
        asked = {key.removeprefix(f"{arch}.") for key in metadata.asked}
        read.setdefault(arch, set()).update(asked)
    return read


class LlamaCpp:
    """llama.cpp's source, as far as it reads hyperparameters."""

    def __init__(self, folder: Path) -> None:
        self.text = "\n".join(
            path.read_text()
            for path in (*folder.glob("src/*.cpp"), *folder.glob("src/models/*"))
        )
        self.keys = dict(re.findall(r'{ LLM_KV_(\w+), +"%s\.(\S+)"', self.text))
        self.archs = dict(re.findall(r'{ LLM_ARCH_(\w+), +"(\S+)"', self.text))
        self.bases = dict(
            re.findall(
                r"struct llama_model_(\w+) : public llama_model_(\w+)", self.text
            )
        )
        self.models = dict(
            re.findall(
                r"case LLM_ARCH_(\w+):\s+return new llama_model_(\w+)", self.text
            )
        )

    def read_for(self, arch: str) -> set[str]:
        """The keys that it reads for an architecture."""
        symbol = next(s for s, name in self.archs.items() if name == arch)
        return {
            self.keys[key]
            for body in (*self._common(), self._own(self.models[symbol]))
            for key in re.findall(r"LLM_KV_(\w+)", body)
            if key in self.keys
        }

    def _common(self) -> Iterator[str]:
        body = self._body("base::load_hparams")
        start = body.index("if (arch == LLM_ARCH_WAVTOKENIZER_DEC)")
        yield body[:start]
        yield body[body.index("// models may route", start) :]

    def _own(self, model: str) -> str:
        if f"llama_model_{model}::load_arch_hparams" not in self.text:
            return self._own(self.bases[model])
        body = self._body(f"{model}::load_arch_hparams")
        if "load_swa_pattern(" in body:
            body += self._body("base::load_swa_pattern")
        return body

    def _body(self, function: str) -> str:
        match = re.search(rf"void llama_model_{function}\(.*?\n}}\n", self.text, re.S)
        assert match is not None, function
        return match[0]


def own(arch: str) -> set[str]:
    """The keys that are harmless in an architecture."""
    return set(HARMLESS_IN.get(arch, {}))


@pytest.mark.reference
def test_no_key_of_llamacpp_is_ignored_in_silence(tmp_path: Path) -> None:
    """Of those that it reads for our families."""
    if "QUANTKIT_LLAMACPP_SOURCE" not in os.environ:
        pytest.skip("QUANTKIT_LLAMACPP_SOURCE names no folder")
    llama_cpp = LlamaCpp(Path(os.environ["QUANTKIT_LLAMACPP_SOURCE"]))
    unknown = {
        arch: llama_cpp.read_for(arch) - read - HARMLESS.keys() - own(arch)
        for arch, read in read_by_quantkit(tmp_path).items()
    }
    assert {arch: keys for arch, keys in unknown.items() if keys} == {}
