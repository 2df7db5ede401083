"""Write an Ollama Modelfile for a GGUF file.

Source: Ollama's documentation and parser.go, template.go and images.go (August 2026).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..by_value import ByValue
from ..errors import OptionError, UnsupportedModelError
from ..files.whole_file import refuse_input, write_whole
from ..gguf import Field, GGUFFile
from ..gguf.keys import text_of
from ..integers import as_integer
from ..parameters import check_callbacks, check_flags
from ..paths import StrPath, as_path
from ..progress import Notify
from ..settings import MAX_COUNT, REAL, Kind, checked, integer
from ..tokens.chat import KEY
from .chat_format import ChatFormat, chat_format
from .go_template import is_plain

__all__ = ["DEFAULT_CTX", "Modelfile", "modelfile", "ollama_name"]

DEFAULT_CTX = 8192
"""Ollama allocates keys and values for all of `num_ctx`, so not the model's context."""

WHOLE = integer(-1, MAX_COUNT)
SAMPLING: Mapping[str, tuple[str, Kind]] = {
    "temp": ("temperature", REAL),
    "top_k": ("top_k", WHOLE),
    "top_p": ("top_p", REAL),
    "min_p": ("min_p", REAL),
    "penalty_last_n": ("repeat_last_n", WHOLE),
    "penalty_repeat": ("repeat_penalty", REAL),
}
"""`general.sampling.*` by Ollama's parameter; it has none for the other keys."""
SAMPLING_PREFIX = "general.sampling."


@dataclass(frozen=True, eq=False)
class Modelfile(ByValue):
    """A Modelfile, from which `ollama create` makes a model.

    Attributes:
        text: the file.
        template: the Go template; None: it has none.
        stops: the texts at which Ollama stops.
        notes: what the user should know; the file has them as comments.
    """

    text: str
    template: str | None
    stops: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def modelfile(
    model: StrPath,
    out: StrPath | None = None,
    *,
    ctx: int | None = None,
    system: str | None = None,
    template: bool = True,
    notify: Notify | None = None,
) -> Modelfile:
    """Describe a GGUF file for Ollama.

    The chat template becomes a Go template if it writes no more than fixed texts around
    messages; both give the same text.

    Args:
        model: a GGUF file (any shard).
        out: the Modelfile to write; None: none.  The path of the model in it is
            relative to its folder.
        ctx: the context in tokens; None: 8192, or the model's if that is shorter.
        system: the system message; None: none.
        template: whether to write a Go template.
        notify: called with each of the notes.

    Raises:
        OptionError: a parameter is not valid, or chat templates need a package that is
            not installed.
        UnsupportedModelError: the file is no model that Ollama runs by itself.
        FormatError: the file is damaged.
        OutputError: `out` cannot be written, or is a file of the model.

    Example:
        >>> print(modelfile("model-q4_k_m.gguf").text)  # doctest: +SKIP
        FROM ./model-q4_k_m.gguf
    """
    check_flags(template=template)
    check_callbacks(notify=notify)
    path = as_path(model, "model")
    file = None if out is None else as_path(out, "out")
    if path.is_dir():
        raise OptionError(
            f"{path} is a folder, and a Modelfile is made for a GGUF file; convert or "
            "quantize the checkpoint first"
        )
    with GGUFFile(path) as opened:
        _refuse_parts(opened.metadata, path)
        if file is not None:
            refuse_input("`out`", file, {"`model`": opened.paths})
        made = _modelfile(opened, file, ctx, system, template)
    if file is not None:
        write_whole(file, made.text)
    if notify is not None:
        for note in made.notes:
            notify(note)
    return made


def ollama_name(file_name: str) -> str:
    """A name for `ollama create`: letters, digits, points, "-" and "_".

    Example:
        >>> ollama_name("My model-Q4_K_M.gguf")
        'my-model-q4_k_m'
    """
    name = file_name.removesuffix(".gguf").lower()
    return re.sub(r"[^a-z0-9._-]+", "-", name).strip("-._") or "model"


def _refuse_parts(metadata: Mapping[str, Field], path: Path) -> None:
    kind = text_of(metadata, "general.type")
    if kind in ("adapter", "mmproj", "imatrix", "vocab"):
        raise UnsupportedModelError(
            f"{path} is not a whole model (general.type is {kind!r}); give the file of "
            "the model"
        )


def _modelfile(
    opened: GGUFFile,
    file: Path | None,
    ctx: int | None,
    system: str | None,
    template: bool,
) -> Modelfile:
    """The Modelfile of an open GGUF file; arguments as for `modelfile`."""
    metadata = opened.metadata
    format = chat_format(metadata) if template else ChatFormat(KEY in metadata)
    lines = [f"FROM {_named(path, file)}" for path in opened.paths]
    notes = [*_split_notes(opened), *_notes(format, template)]
    if system is not None:
        _refuse_system(system, format)
    lines += [f"PARAMETER num_ctx {_context(metadata, ctx)}"]
    for key, field in metadata.items():
        if key.startswith(SAMPLING_PREFIX):
            line, note = _sampling(key, field)
            lines += line
            notes += note
    lines += [f"PARAMETER stop {_quoted(stop)}" for stop in format.stops]
    go = format.go_template if template else None
    if go is not None:
        lines.append(f'TEMPLATE """{go}"""')
    if system is not None:
        lines.append(f'SYSTEM """{system}"""')
    comments = [f"# {note}" for note in notes]
    text = "\n".join([*comments, *lines]) + "\n"
    return Modelfile(text, go, format.stops, tuple(notes))


def _named(path: Path, file: Path | None) -> str:
    """The path of a model as the Modelfile names it.

    Raises:
        OptionError: a Modelfile cannot name it.
    """
    if file is None:
        given = path.as_posix()
    else:
        folder = file.absolute().parent
        given = Path(os.path.relpath(path.absolute(), folder)).as_posix()
    if not is_plain(given) or '"' in given or "\n" in given:
        raise OptionError(
            f"a Modelfile cannot name {str(path)!r}: rename the file, without "
            "quotation marks and control characters"
        )
    if not given.startswith(("../", "/")) and not Path(given).is_absolute():
        given = f"./{given}"
    return f'"{given}"' if " " in given else given


def _quoted(text: str) -> str:
    return f'"""{text}"""' if '"' in text else f'"{text}"'


def _context(metadata: Mapping[str, Field], ctx: int | None) -> int:
    """The context in tokens.

    Raises:
        OptionError: it is longer than the model's.
    """
    field = metadata.get(f"{text_of(metadata, 'general.architecture')}.context_length")
    known = 0 if field is None or not isinstance(field.value, int) else field.value
    longest = known if known > 0 else MAX_COUNT
    if ctx is None:
        return min(DEFAULT_CTX, longest)
    wanted = as_integer(ctx, "ctx", 1)
    if wanted > longest:
        raise OptionError(
            f"`ctx` is {wanted}, and the model was trained with {longest} tokens of "
            "context, which Ollama does not exceed"
        )
    return wanted


def _sampling(key: str, field: Field) -> tuple[list[str], list[str]]:
    """The lines and notes for a recommended sampling setting."""
    name = key.removeprefix(SAMPLING_PREFIX)
    if name not in SAMPLING:
        return [], [f"{name!a}: the file recommends a value that Ollama has no use for"]
    parameter, kind = SAMPLING[name]
    value = checked(field.value, kind, key)
    text = str(np.float32(value)) if isinstance(value, float) else str(value)
    return [f"PARAMETER {parameter} {text}"], []


def _split_notes(opened: GGUFFile) -> list[str]:
    if len(opened.paths) < 2:
        return []
    return ["the model has several files, which only Ollama of 2026 and later joins"]


def _refuse_system(system: Any, format: ChatFormat) -> None:
    """Refuse a system message that would be lost or not be the same."""
    if not isinstance(system, str) or not system or not is_plain(system):
        raise OptionError(
            f"`system` is {system!r}; expected a text without control characters and "
            "without three quotation marks in a row"
        )
    if not format.takes_system:
        raise OptionError(
            "`system` has no effect: the model's chat template has no place for a "
            "system message"
        )


def _notes(format: ChatFormat, template: bool) -> list[str]:
    """What a user should know of the template."""
    if not format.has_template:
        return ["the model has no chat template: Ollama passes texts as they are"]
    if not template:
        return []
    if format.go_template is None:
        return [
            f"no TEMPLATE: {format.why_not}; Ollama of 2026 uses the chat template in "
            "the GGUF file, older versions the most similar one that they know"
        ]
    notes = []
    if not format.takes_system:
        notes.append("the model's chat template has no place for system messages")
    if format.lost:
        notes.append(
            f"TEMPLATE does not pass {' and '.join(format.lost)}; without it, Ollama "
            "of 2026 uses the chat template in the GGUF file"
        )
    return notes
