"""Texts, documents and conversations to tokens, and tokens to chunks and windows."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit.errors import FormatError, OptionError, QuantkitError
from quantkit.gguf.keys import boolean, string
from quantkit.sources.opening import open_source
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens import chat_child, chat_process, cutting
from quantkit.tokens.chat import ChatTemplate
from quantkit.tokens.chunks import chunk_text
from quantkit.tokens.options import TextOptions
from quantkit.tokens.texts import encode
from quantkit.tokens.tokenizer import Tokenizer

from .small_model import small_model

TEMPLATE = """{{ bos_token }}{% for message in messages %}
{% if message.role not in ("user", "assistant") %}
{{ raise_exception("unknown role " + message.role) }}
{% endif %}
[{{ message.role }}] {{ message["content"] | trim }}{{ eos_token }}
{% endfor %}"""

MESSAGES = [
    {"role": "user", "content": " Who lives on Mars? "},
    {"role": "assistant", "content": "No one would have believed it."},
]


class ChatSource:
    """The demo model with a chat template."""

    def __init__(self, template: str | None = TEMPLATE) -> None:
        source = open_source(DEMO_MODEL)
        chat = {} if template is None else {"tokenizer.chat_template": string(template)}
        self.metadata = {**source.metadata, **chat}
        self.tensors = source.tensors


def write_lines(path: Path, *records: object) -> Path:
    path.write_text("\n".join(map(json.dumps, records)) + "\n")
    return path


def test_chunks_do_not_overlap_and_the_rest_is_dropped() -> None:
    """The text is tokenized once, then cut."""
    source, text = open_source(DEMO_MODEL), DEMO_TEXT.read_text(encoding="utf-8")[:3000]
    whole = chunk_text(source, text, TextOptions(ctx=64))
    longer = chunk_text(source, text, TextOptions(ctx=128, chunks=2))
    assert whole.tokens.shape[0] > 4
    assert whole.bos == longer.bos == 1
    assert whole.tokens[0, 0] == 1
    assert np.array_equal(whole.tokens[:4].ravel(), longer.tokens.ravel())


@pytest.mark.parametrize("add_eos", [False, True])
def test_no_more_of_a_text_is_encoded_than_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, add_eos: bool
) -> None:
    """The first chunks are those of the whole text, which ends without our EOS."""
    path, text = tmp_path / "some.jsonl", DEMO_TEXT.read_text(encoding="utf-8")
    write_lines(path, *({"text": text[i : i + 900]} for i in range(0, 9000, 900)))
    source = ChatSource(None)
    source.metadata["tokenizer.ggml.add_eos_token"] = boolean(add_eos)
    whole = encode(source, path)
    monkeypatch.setattr(cutting, "BLOCK", 100)
    for n in (1, 255, 256, 257, 1000, len(whole) - 1, len(whole), len(whole) + 1):
        assert np.array_equal(encode(source, path, at_most=n), whole[:n])
    path.write_text(path.read_text() + "{\n")
    assert len(encode(source, path, at_most=1000)) == 1000
    with pytest.raises(FormatError, match="not JSON"):
        encode(source, path)


def test_a_file_is_read_without_its_last_newline(tmp_path: Path) -> None:
    """One newline, as llama.cpp does; line ends are kept as they are."""
    path = tmp_path / "text.txt"
    text = "The chances against anything manlike on Mars\r\n" * 8
    path.write_bytes(text.encode() + b"\n")
    source = open_source(DEMO_MODEL)
    short = TextOptions(ctx=16)
    of_file, of_text = (chunk_text(source, kind, short) for kind in (path, text))
    assert np.array_equal(of_file.tokens, of_text.tokens)


def test_short_texts_say_what_to_do() -> None:
    """How long the text is, how long it must be, and where a path may be meant."""
    source = open_source(DEMO_MODEL)
    with pytest.raises(
        QuantkitError, match=r"has \d+ tokens.* at least 1024.*`ctx`.*pathlib\.Path"
    ):
        chunk_text(source, "wiki.test.raw", TextOptions(ctx=512))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"ctx": 3}, "`ctx` must be at least 4, not 3"),
        ({"ctx": None}, "`ctx` is None; expected an integer"),
        ({"ctx": 512.0}, "`ctx` is 512.0; expected an integer"),
        ({"chunks": 0}, "`chunks` must be at least 1, not 0"),
        ({"chunks": "4"}, "`chunks` is '4'; expected an integer"),
    ],
)
def test_options_that_make_no_sense(values: dict[str, Any], words: str) -> None:
    """Too few tokens to score one, no chunk, or no number."""
    with pytest.raises(OptionError, match=words):
        TextOptions(**values)


def test_texts_in_other_encodings_are_refused(tmp_path: Path) -> None:
    """The message names the file."""
    path = tmp_path / "latin1.txt"
    path.write_bytes("Münster".encode("latin-1"))
    with pytest.raises(FormatError, match=r"latin1\.txt is not UTF-8"):
        chunk_text(open_source(DEMO_MODEL), path, TextOptions(ctx=8))


def test_contexts_beyond_training_warn(caplog: pytest.LogCaptureFixture) -> None:
    """The demo model was trained with 1024 tokens."""
    source, text = open_source(DEMO_MODEL), DEMO_TEXT.read_text(encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        chunk_text(source, text, TextOptions(ctx=1024, chunks=1))
        assert not caplog.messages
        chunk_text(source, text, TextOptions(ctx=1025, chunks=1))
    assert caplog.messages == [
        "context of 1025 tokens, but the model was trained with 1024"
    ]


def test_strided_windows_score_every_token_once() -> None:
    """All from ctx - stride on, each given at least ctx - stride tokens."""
    source, text = open_source(DEMO_MODEL), DEMO_TEXT.read_text(encoding="utf-8")[:3000]
    tokens = encode(source, text)
    cut = chunk_text(source, text, TextOptions(ctx=64, stride=24))
    assert len(cut) == (len(tokens) - 64) // 24 + 1
    assert cut.n_scored == 24
    scored = np.concatenate([cut.targets(i) for i in range(len(cut))])
    assert np.array_equal(scored, tokens[40 : 40 + len(scored)])
    assert np.array_equal(cut.tokens[3], tokens[72:136])
    assert cut.inputs(3)[0] == cut.bos == 1
    assert len(chunk_text(source, text, TextOptions(ctx=64, chunks=5, stride=24))) == 5


@pytest.mark.parametrize("stride", [0, 64, -1])
def test_strides_that_make_no_sense(stride: int) -> None:
    """None or all of the window."""
    with pytest.raises(OptionError, match=f"`stride` must be .*, not {stride}"):
        chunk_text(open_source(DEMO_MODEL), "text", TextOptions(ctx=64, stride=stride))


def test_documents_of_a_jsonl_file(tmp_path: Path) -> None:
    """Each is a text of its own, with a BOS of its own; empty lines are none."""
    source = open_source(DEMO_MODEL)
    path = tmp_path / "texts.jsonl"
    path.write_text(
        '{"text": "No one\\n would"}\n\n{"id": 7, "text": "have believed"}\n'
    )
    tokenizer = Tokenizer.from_metadata(source.metadata)
    parts = [tokenizer.encode(part) for part in ("No one\n would", "have believed")]
    assert np.array_equal(encode(source, path), np.concatenate(parts))


def test_conversations_are_rendered_by_the_models_template(tmp_path: Path) -> None:
    """Control tokens in what it renders are tokens, and BOS comes once."""
    path = write_lines(tmp_path / "chat.jsonl", *[{"messages": MESSAGES}] * 2)
    source = ChatSource()
    tokenizer = Tokenizer.from_metadata(source.metadata)
    expected = [1]
    for text in (
        "[user] Who lives on Mars?",
        "[assistant] No one would have believed it.",
    ):
        expected += [*tokenizer.encode(text, add_special=False), 2]
    got = encode(source, path, chat=True)
    without_newlines = [i for i in got if i not in newlines(tokenizer)]
    assert without_newlines == [i for i in expected * 2 if i not in newlines(tokenizer)]
    assert ChatTemplate.of(source.metadata).render(MESSAGES) == (
        "<s>[user] Who lives on Mars?</s>\n[assistant] No one would have believed it."
        "</s>\n"
    )


def newlines(tokenizer: Tokenizer) -> set[int]:
    """The tokens of a line end, and of the space that a text starts with."""
    return {int(i) for i in tokenizer.encode("\n", add_special=False)}


def test_control_tokens_are_parsed_only_where_it_is_asked_for() -> None:
    """In a text they are text."""
    tokenizer = Tokenizer.from_metadata(open_source(DEMO_MODEL).metadata)
    assert tokenizer.encode("</s>", False, parse_special=True).tolist() == [2]
    assert 2 not in tokenizer.encode("</s>", False)


@pytest.mark.parametrize(
    ("line", "chat", "words"),
    [
        ("{", False, "line 2 is not JSON"),
        ("[]", False, "line 2 has no 'text'"),
        ("[" * 100000, False, "line 2 is not JSON"),
        ('{"text": ' + "1" * 5000 + "}", False, "line 2 is not JSON"),
        ('{"messages": ' + "[" * 900 + "]" * 900 + "}", True, "cannot render"),
        ('{"text": "\\ud800"}', False, "line 2 has half of a character"),
        ('{"text": 7}', False, "line 2 has no 'text' with a text.*`chat=True`"),
        ('{"text": "a"}', True, "line 2 has no 'messages' with a list"),
        (json.dumps({"messages": [{"role": "cat"}]}), True, "unknown role cat"),
        (json.dumps({"messages": [7]}), True, "cannot render"),
    ],
)
def test_lines_that_are_not_what_they_must_be(
    tmp_path: Path, line: str, chat: bool, words: str
) -> None:
    """The message has the file, the line and the field, or what the template says."""
    good = json.dumps({"text": "fine", "messages": MESSAGES})
    path = tmp_path / "some.jsonl"
    path.write_text(f"{good}\n{line}\n")
    with pytest.raises(FormatError, match=words):
        encode(ChatSource(), path, chat=chat)


def test_lines_in_other_encodings(tmp_path: Path) -> None:
    """The line is named; lines before it are read."""
    path = tmp_path / "some.jsonl"
    path.write_bytes(b'{"text": "fine"}\r\n{"text": "\xff"}\n')
    with pytest.raises(FormatError, match=r"some\.jsonl, line 2 is not UTF-8"):
        encode(open_source(DEMO_MODEL), path)
    path.write_bytes(json.dumps({"text": "fine"}).encode("utf-16"))
    with pytest.raises(FormatError, match="line 1 is not UTF-8"):
        encode(open_source(DEMO_MODEL), path)


def test_characters_that_are_rare_in_texts(tmp_path: Path) -> None:
    """NUL, other control characters and noncharacters are text like any other."""
    path, source = tmp_path / "text.txt", open_source(DEMO_MODEL)
    text = "a\0b\x1b\x7f\ufeff\ufffe\U0010ffff\u2028"
    path.write_text(text, encoding="utf-8")
    ids = Tokenizer.from_metadata(source.metadata).encode(text)
    assert encode(source, path).tolist() == ids.tolist()
    assert len(ids) > len(text)


def test_files_without_lines(tmp_path: Path) -> None:
    """Nothing to measure on."""
    path = tmp_path / "empty.jsonl"
    path.write_text("\n")
    with pytest.raises(FormatError, match=r"empty\.jsonl has no lines"):
        encode(open_source(DEMO_MODEL), path)


def test_chats_need_a_template_and_a_jsonl_file(tmp_path: Path) -> None:
    """And say so."""
    path = write_lines(tmp_path / "chat.jsonl", {"messages": MESSAGES})
    with pytest.raises(OptionError, match="no chat template"):
        encode(ChatSource(None), path, chat=True)
    with pytest.raises(OptionError, match=r"needs a \.jsonl file"):
        encode(ChatSource(), DEMO_TEXT, chat=True)


def test_templates_run_in_a_sandbox() -> None:
    """They reach nothing but what they are given."""
    for template in (
        "{{ messages.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% for i in range(9999999) %}{% endfor %}",
    ):
        with pytest.raises(FormatError, match="cannot render"):
            ChatTemplate(template, {}).render(MESSAGES)


ESCAPES = (
    "''.__class__",
    "''['__class__']",
    "''|attr('__class__')",
    "''|attr('__cla' ~ 'ss__')",
    "[''] | map(attribute='__class__') | list",
    "[''] | map('attr', '__class__') | first",
    "{'a': ''} | dictsort(by='__class__')",
    "[''] | sort(attribute='__class__.__mro__')",
    "[''] | groupby('__class__')",
    "'{0.__class__.__mro__}'.format('')",
    "'{a.__class__}'.format_map({'a': ''})",
    "('{0.__class__}' | string).format(cycler)",
    "self.__init__.__globals__",
    "self._TemplateReference__context",
    "cycler.__init__.__globals__.os.popen('id').read()",
    "joiner.__init__.__globals__",
    "namespace.__init__.__globals__",
    "lipsum.__globals__['os'].popen('id').read()",
    "lipsum.__code__.co_consts",
    "raise_exception.__globals__",
    "strftime_now.__globals__['sys']",
    "strftime_now.__func__",
    "strftime_now('%Y').__class__",
    "messages.append(1)",
    "messages.clear()",
    "messages[0].update(a=1)",
    "messages[0].pop('role')",
    "messages.sort()",
    "(messages | map('upper')).gi_frame",
    "caller.__globals__",
    "range(10).__class__",
    "dict.__subclasses__()",
    "dict.mro()",
)


@pytest.mark.parametrize("expression", ESCAPES)
def test_templates_cannot_leave_the_sandbox(expression: str) -> None:
    """They reach no module, change nothing, and show no object of Python."""
    template = chat_child.Template(
        f"{{{{ {expression} }}}}{{{{ messages | length }}}}{{{{ messages[0].role }}}}",
        {},
    )
    line = json.dumps({"messages": MESSAGES}).encode()
    answer = json.loads(chat_child.answer(template, line))
    shown = answer.get("text", "2user")
    assert shown.endswith("2user")
    assert not re.search(r"<|module|uid=|class", shown)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for i in range(99999) %}" * 9 + "{% endfor %}" * 9, "finish in 1 seconds"),
        ("{{ 'x' * 10**10 }}", "more than 128 MiB of memory"),
        ("{{ messages | tojson(indent=10**10) }}", "more than 128 MiB of memory"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "recursion depth"),
        ("{{ 'x' * 99999 }}", "the text has more than 0 MiB"),
        ("{{ raise_exception('x' * 9999) }}", "messages: x{300}$"),
    ],
)
def test_templates_have_limits(
    monkeypatch: pytest.MonkeyPatch, template: str, words: str
) -> None:
    """Of time, memory and the length of what they write."""
    if "memory" in words and sys.platform != "linux":
        pytest.skip("this system does not limit the memory of a process")
    monkeypatch.setattr(chat_process, "SECONDS", 1)
    monkeypatch.setattr(chat_process, "MEMORY", 128 << 20)
    monkeypatch.setattr(chat_process, "MAX_ANSWER", 90000)
    with pytest.raises(FormatError, match=words):
        ChatTemplate(template, {}).render(MESSAGES)


def test_one_process_renders_many_conversations() -> None:
    """Each starts anew: what a template sets is gone."""
    template = "{{ n is defined }}{% set n = 1 %}{{ messages[0].content }}"
    with ChatTemplate(template, {}).process() as process:
        for i in range(100):
            assert process.render([{"content": f"é{i}"}]) == f"False\xe9{i}"


def test_template_processes_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says so, whether there is no interpreter or it ends."""
    for program in (None, "no such program", sys.executable):
        monkeypatch.setattr(sys, "executable", program)
        monkeypatch.setattr(chat_process, "_COMMAND", "raise SystemExit(7)")
        with pytest.raises(OptionError, match="which cannot be started: "):
            ChatTemplate(TEMPLATE, {}).render(MESSAGES)


def test_jinja_is_asked_for_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no dependency of anything else."""
    monkeypatch.setitem(sys.modules, "jinja2.sandbox", None)
    with pytest.raises(OptionError, match=r"pip install 'quantkit\[chat\]'"):
        ChatTemplate(TEMPLATE, {}).render(MESSAGES)


def test_templates_have_the_functions_of_transformers() -> None:
    """JSON without escapes, today's date, loop controls."""
    template = (
        "{% for m in messages %}{{ m | tojson }}{{ strftime_now('%Y')[:2] }}"
        "{% break %}{% endfor %}"
    )
    text = ChatTemplate(template, {}).render([{"content": "<é>"}, {}])
    assert text == '{"content": "<é>"}20'


@pytest.mark.skipif(os.name == "nt", reason="Windows has no FIFOs")
def test_several_models_read_a_pipe_once(tmp_path: Path) -> None:
    """Each tokenizes the text, which can be read only once."""
    models = [small_model(tmp_path / name, 1) for name in ("a.gguf", "b.gguf")]
    options = TextOptions(ctx=16)
    text, pipe = "abc de " * 40, tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=partial(pipe.write_bytes, text.encode())).start()
    found = qk.compare(models, text=pipe, options=options)
    assert found.text == "pipe"
    alone = qk.compare(models[0], text=text, options=options)
    assert found.results[0].ppl == alone.base.ppl
