"""The template of a decision model's prompts, which its tokenizer's files lack.

The model reads a kind of question ("choice", "score" or "noul") with instructions, then
the options, each after a mask token, then the state that it is asked about.  What is
not a text is read as JSON.  Source: the prompts of the published models, as
llama.cpp's converter describes them; readers look for the name `systemone`.
"""

from __future__ import annotations

from ..errors import CheckpointError
from ..gguf.keys import Field, ValueType, array, string
from .files import TokenizerFiles

__all__ = ["decision_template_fields"]

NAME = "systemone"
KINDS = {"cls": "a start", "sep": "an end", "mask": "a mask"}
JULIA = "JuliaDecisionModel"

OF_JULIA = "{% if o.description %}{{ TEXT }}{% else %}{{ o.key }}{% endif %}"
OF_LAYA = (
    "{% if type == 'score' %}level {{ o.key }}: {{ TEXT }}"
    "{% elif type == 'choice' %}{{ o.key }}"
    "{% if o.description %}: {{ TEXT }}{% endif %}"
    "{% elif o.description %}{{ o.key }}: {{ TEXT }}"
    "{% elif o.key == 'true' %}true: yes, the statement holds"
    "{% else %}{{ o.key }}: no, the statement does not hold{% endif %}"
)
"""How an option `o` is spelled."""


def decision_template_fields(files: TokenizerFiles) -> dict[str, Field]:
    """The fields of the template.

    Raises:
        CheckpointError: the tokenizer has no start, end or mask token.
    """
    tokens = {}
    for kind, what in KINDS.items():
        tokens[kind] = files.special_text(kind)
        if not tokens[kind]:
            raise CheckpointError(
                f"{files.folder}/tokenizer_config.json names no {kind}_token, {what} "
                "token of prompts; download it again"
            )
    head = files.config.get("decision") or {}
    option = OF_JULIA if head.get("architecture") == JULIA else OF_LAYA
    option = option.replace("{{ TEXT }}", _shown("o.description"))
    text = (
        f"{tokens['cls']}{{{{ type }}}} question: {_shown('instructions')}"
        f"{tokens['sep']}{{% for o in options %}}{tokens['mask']} {option}"
        f"{{% endfor %}}{tokens['sep']}{_shown('state')}{tokens['sep']}"
    )
    return {
        f"tokenizer.chat_template.{NAME}": string(text),
        "tokenizer.chat_templates": array(ValueType.STRING, [NAME]),
    }


def _shown(name: str) -> str:
    """An expression for a value: a text as it is, else as JSON."""
    return f"{{{{ {name} if {name} is string else {name} | tojson }}}}"
