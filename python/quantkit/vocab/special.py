"""Special token ids, whether they are added to a text, and chat templates.

Source: how llama.cpp's gguf-py (`SpecialVocab`) reads tokenizer.json,
tokenizer_config.json, config.json and the chat template files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files.inputs import refuse_irregular
from ..files.json_file import read_json
from ..gguf.keys import Field, ValueType, array, boolean, string, uint32
from .files import SPECIAL_KINDS, Json, TokenizerFiles, token_text

__all__ = ["normalizer_steps", "special_fields"]

_ID_KEYS = {
    "bos": "tokenizer.ggml.bos_token_id",
    "eos": "tokenizer.ggml.eos_token_id",
    "unk": "tokenizer.ggml.unknown_token_id",
    "sep": "tokenizer.ggml.seperator_token_id",  # the format's own spelling
    "pad": "tokenizer.ggml.padding_token_id",
    "mask": "tokenizer.ggml.mask_token_id",
    "eot": "tokenizer.ggml.eot_token_id",
    "eom": "tokenizer.ggml.eom_token_id",
}
_FLAG_KEYS = {
    kind: f"tokenizer.ggml.add_{kind}_token" for kind in ("bos", "eos", "sep")
}


def special_fields(
    files: TokenizerFiles,
    n_tokens: int | None = None,
    kinds: Iterable[str] = SPECIAL_KINDS,
    defaults: Callable[[Mapping[str, int]], Mapping[str, int]] | None = None,
) -> dict[str, Field]:
    """The fields of special tokens, in llama.cpp's order.

    Args:
        files: the tokenizer's files.
        n_tokens: leave out ids from here on; None: write every id.
        kinds: the roles to look for.
        defaults: called with the ids that the files name; returns ids for other roles.
    """
    roles = _Roles(dict(files.settings), kinds=list(kinds))
    if files.tokenizer:
        roles.read_post_processor(files.tokenizer.get("post_processor") or {})
    ids = roles.read_ids(files, n_tokens)
    if defaults is not None:
        ids = ids | {kind: i for kind, i in defaults(ids).items() if kind not in ids}
    fields = {_ID_KEYS[kind]: uint32(i) for kind, i in ids.items() if kind in _ID_KEYS}
    fields |= {
        _FLAG_KEYS[kind]: boolean(flag)
        for kind, flag in roles.flags.items()
        if kind in _FLAG_KEYS
    }
    if files.settings:
        fields |= _chat_template_fields(files)
    return fields | _normalizer_fields(files)


@dataclass
class _Roles:
    """Special roles and their tokens, collected from several files.

    Attributes:
        settings: tokenizer_config.json, plus roles found in other files.
        flags: role -> whether that token is added to every text.
        kinds: the roles to look for.
    """

    settings: dict[str, Any]
    flags: dict[str, bool] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=lambda: list(SPECIAL_KINDS))

    def read_post_processor(self, section: Json) -> None:
        """Learn which tokens tokenizer.json adds before and after a text."""
        settings = self.settings
        for role, stand_in in (("bos_token", "cls_token"), ("eos_token", "sep_token")):
            if not settings.get(role) and settings.get(stand_in):
                settings[role] = settings[stand_in]
        for processor in section.get("processors", [section]):
            if processor.get("type") == "ByteLevel":
                self.flags.setdefault("bos", False)
                self.flags.setdefault("eos", False)
            elif processor.get("type") == "RobertaProcessing":
                self.flags |= {"bos": True, "eos": True, "sep": True}
                self._name_roberta("cls", processor, settings.get("bos_token"))
                self._name_roberta("sep", processor, settings.get("eos_token"))
            elif processor.get("type") == "TemplateProcessing":
                self._read_template(
                    processor.get("single", []), processor.get("pair", [])
                )

    def _name_roberta(self, kind: str, processor: Json, stand_in: object) -> None:
        """Set a role's token from RobertaProcessing, which gives a text and an id."""
        key = f"{kind}_token"
        self.settings[key] = (
            self.settings.get(key) or processor.get(kind, [stand_in])[0]
        )

    def _read_template(self, single: list[Json], pair: list[Json]) -> None:
        first = _special_id(single[0]) if len(single) > 1 else None
        last = _special_id(single[-1]) if len(single) > 1 else None
        if first:
            self._start_with(first)
        if last:
            self._end_with(last)
        start = int(bool(first and pair and _special_id(pair[0]) == first))
        stop = len(pair) - int(bool(last and pair and _special_id(pair[-1]) == last))
        self._read_pair(pair[start:stop], ends=bool(last))

    def _start_with(self, text: str) -> None:
        roles = ("bos_token", "cls_token")
        if text not in map(self.settings.get, roles):
            for role in roles:
                self.settings[role] = self.settings.get(role) or text
        self.flags["bos"] = text in map(self.settings.get, roles)

    def _end_with(self, text: str) -> None:
        """Make `text` the EOS token; the former EOS becomes EOT or EOM."""
        named = bool(self.settings)
        displaced = self.settings.get("eos_token")
        self.flags["eos"] = True
        if displaced == text or not named:
            return
        self.settings["eos_token"] = text
        for kind in ("eot", "eom"):
            if kind not in self.kinds:
                self.kinds.append(kind)
                self.settings[f"{kind}_token"] = displaced
                return

    def _read_pair(self, template: list[Json], ends: bool) -> None:
        """Learn from the template for text pairs whether a token separates them."""
        if len(template) < 3 or _sequence_ids(template) != ("A", "B"):
            return
        between = [_special_id(part) for part in template[1:-1]]
        eos, sep = self.settings.get("eos_token"), self.settings.get("sep_token")
        counted = (
            between[int(ends) :] if len(between) == 2 else between[: int(not ends)]
        )
        self.flags["sep"] = any(text and text in (sep, eos) for text in counted)
        if self.flags["sep"] and not sep:
            self.settings["sep_token"] = eos

    def read_ids(self, files: TokenizerFiles, n_tokens: int | None) -> dict[str, int]:
        """The id of each role, by tokenizer_config.json, else by config.json."""
        by_text: dict[str, int] = {}
        for token in files.added_in_tokenizer():
            by_text.setdefault(token.content, token.id)
        found: list[tuple[str, object]] = []
        for kind in self.kinds if files.settings else ():
            flag = self.settings.get(f"add_{kind}_token")
            if isinstance(flag, bool):
                self.flags.setdefault(kind, flag)
            text = token_text(self.settings.get(f"{kind}_token"))
            found.append((kind, by_text.get(text) if text is not None else None))
        inner = files.config.get("text_config") or {}
        for kind in self.kinds:
            key = f"{kind}_token_id"
            i = files.config.get(key)
            found.append((kind, inner.get(key) if i is None else i))
        ids: dict[str, int] = {}
        for kind, i in found:
            if isinstance(i, int) and i >= 0 and (n_tokens is None or i < n_tokens):
                ids.setdefault(kind, i)
        return ids


def _special_id(part: Json) -> str | None:
    """The text of the special token in a part of a template, if it is one."""
    text = part.get("SpecialToken", {}).get("id")
    return text if isinstance(text, str) else None


def _sequence_ids(template: list[Json]) -> tuple[str | None, str | None]:
    """The first and last text ("A" or "B") of a template."""
    first, last = (template[i].get("Sequence", {}).get("id") for i in (0, -1))
    return first, last


def _normalizer_fields(files: TokenizerFiles) -> dict[str, Field]:
    """Whether tokenizer.json's normalizer lowercases text and strips accents."""
    flags: dict[str, bool] = {}
    for step in normalizer_steps(files.tokenizer):
        match step:
            case {"type": "Lowercase"}:
                flags["lowercase"] = True
            case {"type": "StripAccents"}:
                flags["strip_accents"] = True
            case {"type": "BertNormalizer"}:
                flags |= {
                    flag: step[flag]
                    for flag in ("lowercase", "strip_accents")
                    if isinstance(step.get(flag), bool)
                }
    return {
        f"tokenizer.ggml.normalizer.{flag}": boolean(flags[flag])
        for flag in ("lowercase", "strip_accents")
        if flag in flags
    }


def normalizer_steps(tokenizer: Json) -> Iterator[Json]:
    """The normalization steps of a tokenizer.json, sequences flattened."""
    sections = [tokenizer.get("normalizer") or {}]
    while sections:
        section = sections.pop(0)
        if section.get("type") == "Sequence":
            sections = [*section.get("normalizers", ()), *sections]
        else:
            yield section


def _chat_template_fields(files: TokenizerFiles) -> dict[str, Field]:
    """The fields of the chat template, or of several named ones."""
    template = files.settings.get("chat_template", _template_file(files.folder))
    if isinstance(template, str):
        return {"tokenizer.chat_template": string(template)}
    named = {
        re.sub("[^0-9A-Za-z]", "_", choice.get("name", "")): choice.get("template")
        for choice in (template if isinstance(template, list) else ())
    }
    named = {name: text for name, text in named.items() if name and text is not None}
    default = named.pop("default", None)
    fields = {
        f"tokenizer.chat_template.{name}": string(text) for name, text in named.items()
    }
    if named:
        fields["tokenizer.chat_templates"] = array(ValueType.STRING, sorted(named))
    if default is not None:
        fields["tokenizer.chat_template"] = string(default)
    return fields


def _template_file(folder: Path) -> str | Sequence[dict[str, str]] | None:
    """The chat templates of a folder that keeps them in separate files."""
    path = folder / "chat_template.jinja"
    if not path.is_file():
        template = (read_json(folder / "chat_template.json") or {}).get("chat_template")
        return template if isinstance(template, (str, list)) else None
    template = path.read_text(encoding="utf-8")
    others = sorted((folder / "additional_chat_templates").glob("*.jinja"))
    if not others:
        return template
    for other in others:
        refuse_irregular(other)
    return [{"name": "default", "template": template}] + [
        {"name": other.stem, "template": other.read_text(encoding="utf-8")}
        for other in others
    ]
