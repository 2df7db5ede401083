"""Modelfiles for Ollama: what they say of a GGUF file, and their Go templates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import quantkit as qk
from quantkit.cli.main import app
from quantkit.errors import (
    FormatError,
    OptionError,
    OutputError,
    UnsupportedModelError,
)
from quantkit.gguf import Field, GGUFWriter
from quantkit.gguf.keys import boolean, float32, int32, string, uint32
from quantkit.publishing.go_template import go_template
from quantkit.publishing.turns import SAMPLES, Messages, Place, Turns, find_turns
from quantkit.tokens.chat import ChatTemplate

from .families.lettered import vocabulary
from .go_templates import rendered

BOS = "<s>"
TOKENS = {"bos_token": BOS, "eos_token": "</s>"}
SYSTEM_OR_NOT = "{% set s = messages[0].role == 'system' %}"
LOOP = "{% for m in messages %}"
END = "{% endfor %}{% if add_generation_prompt %}"

CHATML = (
    f"{LOOP}<|im_start|>{{{{ m.role }}}}\n{{{{ m.content }}}}<|im_end|>{{{{ '\n' }}}}"
    f"{END}<|im_start|>assistant\n{{% endif %}}"
)
LLAMA_3 = (
    f"{{{{ bos_token }}}}{LOOP}<|start_header_id|>{{{{ m.role }}}}<|end_header_id|>\n\n"
    f"{{{{ m.content | trim }}}}<|eot_id|>{END}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    f"{{{{ bos_token }}}}{SYSTEM_OR_NOT}{LOOP}{{% if m.role != 'system' %}}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n"
    "{{ messages[0].content + '\n\n' if s and loop.index0 == 1 }}"
    f"{{{{ m.content }}}}<end_of_turn>{{{{ '\n' }}}}{{% endif %}}{END}"
    "<start_of_turn>model\n{% endif %}"
)
MISTRAL = (
    f"{{{{ bos_token }}}}{SYSTEM_OR_NOT}{LOOP}{{% if m.role == 'user' %}}[INST] "
    "{{ messages[0].content + '\n\n' if s and loop.last }}{{ m.content }}[/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }}</s>{% endif %}{% endfor %}"
)
DEEPSEEK = (
    f"{{{{ bos_token }}}}{LOOP}{{% if m.role == 'system' %}}{{{{ m.content }}}}"
    "{% elif m.role == 'user' %}<\uff5cUser\uff5c>{{ m.content }}{% else %}"
    "<\uff5cAssistant\uff5c>{{ m.content }}<\uff5cend\u2581of\u2581sentence\uff5c>"
    f"{{% endif %}}{END}<\uff5cAssistant\uff5c><think>{{{{ '\n' }}}}{{% endif %}}"
)
PHI = (
    f"{LOOP}<|{{{{ m.role }}}}|>\n{{{{ m.content }}}}<|end|>{{{{ '\n' }}}}{END}"
    "<|assistant|>\n{% else %}<|endoftext|>{% endif %}"
)
WITH_DEFAULT = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind, {{ '{{' }}ok"
    f"<|im_end|>{{{{ '\n' }}}}{{% endif %}}{CHATML}"
)
PLAIN = (
    "{{ raise_exception('no system') if messages[0].role == 'system' }}"
    f"{LOOP}{{{{ 'USER: ' if m.role == 'user' else 'BOT: ' }}}}{{{{ m.content }}}}"
    f" {END}BOT:{{% endif %}}"
)
ODD = f'{LOOP}a{{{{ "\t\u200b" }}}}"""{{{{ m.content }}}}{{{{ "{{" }}}}{{% endfor %}}'

KNOWN = {
    "chatml": (CHATML, Place.OWN_TURN),
    "llama 3": (LLAMA_3, Place.OWN_TURN),
    "gemma": (GEMMA, Place.FIRST_TURN),
    "mistral": (MISTRAL, Place.LAST_TURN),
    "deepseek": (DEEPSEEK, Place.OWN_TURN),
    "phi": (PHI, Place.OWN_TURN),
    "default system message": (WITH_DEFAULT, Place.OWN_TURN),
    "plain": (PLAIN, Place.NOWHERE),
    "quoted": (ODD, Place.OWN_TURN),
}
UNKNOWN = {
    "counts": f"{LOOP}{{{{ loop.index }}}}{{{{ m.content }}}}{{% endfor %}}",
    "changes messages": f"{LOOP}|{{{{ m.content | upper }}}}{{% endfor %}}",
    "repeats": f"{LOOP}{{{{ m.content }}}}{{{{ m.content }}}}{{% endfor %}}",
    "joins lines": f"{LOOP}|{{{{ m.content | replace('\n', ' ') }}}}{{% endfor %}}",
}


def found(template: str) -> tuple[Turns | None, list[tuple[Messages, str]]]:
    """The turns of a template, and what it makes of the samples, without BOS."""
    with ChatTemplate(template, TOKENS).process() as process:

        def render(messages: Messages, answering: bool) -> str:
            return process.render(messages, answering=answering)

        turns = find_turns(render, BOS)
        if turns is None:
            return None, []
        samples = [
            sample[turns.place is Place.NOWHERE and sample[0]["role"] == "system" :]
            for sample in SAMPLES
        ]
        return turns, [(s, render(s, True).removeprefix(BOS)) for s in samples]


def read_by_ollama(text: str) -> list[tuple[str, str]]:
    """The commands of a Modelfile and their values, by the rules of its parser.go."""
    commands, rest = [], text
    while rest:
        line, _, after = rest.partition("\n")
        if not line.strip() or line.startswith("#"):
            rest = after
            continue
        name, _, rest = rest.partition(" ")
        if name == "PARAMETER":
            name, _, rest = rest.partition(" ")
        value, known = "", None
        while known is None:
            char, rest = rest[:1], rest[1:]
            known = unquoted(value.strip()) if char in ("\n", "") else None
            assert char or known is not None, "a quotation does not end"
            value += char if char in "\n\t" or char.isprintable() else ""
        commands.append((name, known))
    return commands


def unquoted(text: str) -> str | None:
    """The text without its quotation marks; None: the closing ones are missing."""
    for marks in ('"""', '"'):
        if text.startswith(marks):
            is_whole = text.endswith(marks) and len(text) >= 2 * len(marks)
            return text[len(marks) : -len(marks)] if is_whole else None
    return text


def gguf(path: Path, template: str | None = None, **more: Field) -> Path:
    """A file of metadata with this chat template."""
    fields = {
        "general.architecture": string("llama"),
        "llama.context_length": uint32(4096),
        **vocabulary(80),
        "tokenizer.ggml.bos_token_id": uint32(1),
        **{key.replace("__", "."): field for key, field in more.items()},
    }
    if template is not None:
        fields["tokenizer.chat_template"] = string(template)
    with GGUFWriter(path, fields, []):
        pass
    return path


@pytest.mark.parametrize("name", KNOWN)
def test_go_templates_give_the_text_of_the_chat_template(name: str) -> None:
    """For conversations with and without a system message, of one turn and of more."""
    template, place = KNOWN[name]
    turns, texts = found(template)
    assert turns is not None
    assert turns.place is place
    assert len(texts) == len(SAMPLES)
    for sample, text in texts:
        assert rendered(go_template(turns), sample) == text


def test_other_templates_are_not_taken_for_known_ones() -> None:
    """Those that change with the number of messages, or change the messages."""
    for name, template in UNKNOWN.items():
        assert found(template)[0] is None, name


def test_a_conversation_that_ends_with_an_answer_goes_on_there() -> None:
    """Ollama lets the model continue what the assistant said."""
    turns, _ = found(LLAMA_3)
    assert turns is not None
    ends = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "So"}]
    assert rendered(go_template(turns), ends).endswith("<|end_header_id|>\n\nSo")
    assert turns.text(ends) == rendered(go_template(turns), ends)


def test_a_modelfile_says_what_the_file_says(tmp_path: Path) -> None:
    """The context, the recommended sampling, the format; BOS comes from Ollama."""
    sampling = {
        "temp": float32(0.6),
        "top_k": int32(20),
        "penalty_last_n": int32(64),
        "mirostat": int32(0),
    }
    fields = {f"general__sampling__{key}": field for key, field in sampling.items()}
    path = gguf(tmp_path / "a model.gguf", "{{ bos_token }}" + CHATML, **fields)
    told: list[str] = []
    made = qk.modelfile(path, tmp_path / "to" / ".." / "Modelfile", notify=told.append)
    assert (tmp_path / "Modelfile").read_text() == made.text
    assert made.template is not None
    assert made.template.startswith("{{- if .System }}<|im_start|>system\n{{ .System")
    head, _, rest = made.text.partition('TEMPLATE """')
    assert head.splitlines() == [
        "# 'mirostat': the file recommends a value that Ollama has no use for",
        'FROM "./a model.gguf"',
        "PARAMETER num_ctx 4096",
        "PARAMETER temperature 0.6",
        "PARAMETER top_k 20",
        "PARAMETER repeat_last_n 64",
        'PARAMETER stop "<|im_end|>"',
    ]
    assert rest == f'{made.template}"""\n'
    assert told == list(made.notes)


@pytest.mark.parametrize("name", ["llama 3", "quoted", "default system message"])
def test_ollama_reads_what_was_meant(name: str, tmp_path: Path) -> None:
    """Also line breaks, quotation marks, and characters that it would drop."""
    path, template = gguf(tmp_path / "a b.gguf"), KNOWN[name][0]
    path = gguf(path, template, general__sampling__top_p=float32(0.9))
    system = 'Say "yes".\n\n  PARAMETER stop x\n""'
    made = qk.modelfile(path, tmp_path / "Modelfile", system=system, ctx=512)
    read = read_by_ollama(made.text)
    assert read == [
        ("FROM", "./a b.gguf"),
        ("num_ctx", "512"),
        ("top_p", "0.9"),
        *(("stop", stop) for stop in made.stops),
        ("TEMPLATE", made.template),
        ("SYSTEM", system),
    ]


def test_control_tokens_between_turns_stop_answers(tmp_path: Path) -> None:
    """Of a format without any, the text does."""
    turns = CHATML.replace("<|im_end|>", "</s>")
    assert qk.modelfile(gguf(tmp_path / "m.gguf", turns)).stops == ("</s>",)
    assert qk.modelfile(gguf(tmp_path / "m.gguf", PLAIN)).stops == ("USER:",)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (UNKNOWN["counts"], "does more than write texts around messages"),
        ("{{ raise_exception('no\\ncat') }}", r"cannot render the messages: no\ncat"),
        ("\udcff" + CHATML, "is not UTF-8"),
        (CHATML + "{% set now = strftime_now('%Y') %}", "tells the date"),
        (None, "no chat template"),
        (PLAIN, "no place for system messages"),
        (CHATML + "{% if tools %}{{ 1 }}{% endif %}", "does not pass tools"),
    ],
)
def test_what_is_lost_is_said(tmp_path: Path, template: str | None, words: str) -> None:
    """In the file and to the caller; a template that may differ is left out."""
    made = qk.modelfile(gguf(tmp_path / "m.gguf", template))
    (note,) = made.notes
    assert words in note
    assert made.text.startswith(f"# {note}\n")
    is_kept = template is not None and template.startswith((CHATML, PLAIN))
    assert (made.template is not None) == (is_kept and "strftime" not in str(template))
    assert qk.modelfile(gguf(tmp_path / "m.gguf", CHATML), template=False).notes == ()


def test_wrong_uses_are_refused(tmp_path: Path) -> None:
    """Each by its name, before anything is written."""
    path, out = gguf(tmp_path / "m.gguf"), tmp_path / "Modelfile"
    with pytest.raises(OptionError, match="no place for a system message"):
        qk.modelfile(gguf(tmp_path / "s.gguf", PLAIN), out, system="Hi")
    for options, words in (
        ({"ctx": 5000}, "`ctx` is 5000, and the model was trained with 4096"),
        ({"ctx": 0}, "`ctx` must be at least 1"),
        ({"system": ""}, "`system` is ''"),
        ({"system": 'a """ b'}, "three quotation marks"),
        ({"template": "no"}, "`template` is 'no'"),
    ):
        with pytest.raises(OptionError, match=words):
            qk.modelfile(path, out, **options)
    with pytest.raises(OutputError, match=r"`out` .* is the same file as `model`"):
        qk.modelfile(path, path)
    with pytest.raises(OptionError, match="is a folder"):
        qk.modelfile(tmp_path)
    with pytest.raises(OptionError, match="rename the file"):
        qk.modelfile(path.rename(tmp_path / 'a"b.gguf'), out)
    part = gguf(tmp_path / "p.gguf", None, general__type=string("mmproj"))
    with pytest.raises(UnsupportedModelError, match="not a whole model"):
        qk.modelfile(part, out)
    wrong = gguf(tmp_path / "w.gguf", None, general__sampling__temp=string("hot"))
    with pytest.raises(FormatError, match=r"general\.sampling\.temp is 'hot'"):
        qk.modelfile(wrong, out)
    damaged = gguf(tmp_path / "d.gguf", None, tokenizer__chat_template=boolean(True))
    with pytest.raises(FormatError, match="chat_template is True"):
        qk.modelfile(damaged, out)
    assert not out.exists()


def test_the_command_prints_or_writes(tmp_path: Path) -> None:
    """With the notes on stderr."""
    path = gguf(tmp_path / "m.gguf", PLAIN)
    run = CliRunner().invoke(app, ["modelfile", str(path)])
    assert run.exit_code == 0
    assert run.stdout == qk.modelfile(path).text
    assert "no place for system messages" in run.stderr
    out = tmp_path / "Modelfile"
    run = CliRunner().invoke(app, ["modelfile", str(path), "-o", str(out), "-q"])
    assert run.stdout == f"ollama create m -f {out}\n"
    assert not run.stderr
    assert out.read_text() == qk.modelfile(path, out).text
    run = CliRunner().invoke(app, ["modelfile", str(path), "-o", str(path)])
    assert run.exit_code != 0
    run = CliRunner().invoke(app, ["modelfile", str(path), "--json"])
    assert json.loads(run.stdout)["stops"] == ["USER:"]
