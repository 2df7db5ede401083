"""How files were made: commands, importance and calibration, by what they record."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from ..cells import markdown_text
from ..gguf import Field
from ..gguf.keys import text_of
from ..importance.record import IMATRIX_FILE, IMATRIX_PREFIX
from ..tasks.calibration_record import CalibrationRecord
from ..tasks.provenance import SOURCE_HASH, VERSION, Origin, recorded_origin
from ..visible import visible
from .card_files import Opened

__all__ = ["as_argument", "fenced", "making_lines", "uses_importance"]

MOST_PATTERNS = 4
"""Types of tensors that a command names one by one; otherwise those of the file."""


def uses_importance(files: Sequence[Opened]) -> bool:
    """Whether a file was made with an importance matrix."""
    return any(IMATRIX_FILE in each.metadata for each in files)


def making_lines(files: Sequence[Opened], repo: str | None) -> list[str]:
    """The section as lines of Markdown; empty: the files record nothing.

    Args:
        files: the files.
        repo: "org/name" of the unquantized model on the Hub; None: not known.
    """
    model = "MODEL" if repo is None else f"hf://{repo}"
    commands, facts = [], list[str]()
    for each in files:
        origin = recorded_origin(each.metadata, str(each.path))
        if origin is not None:
            commands.append(_command(each, origin, model))
        facts += _facts(each)
    lines = [f"- {fact}" for fact in dict.fromkeys(facts)]
    if not commands:
        return lines
    return [*fenced(commands), "", *lines] if lines else fenced(commands)


def as_argument(name: str) -> str:
    """A file's name in a command, in which it is no option."""
    return f"./{name}" if name.startswith("-") else name


def fenced(lines: Sequence[str], language: str = "sh") -> list[str]:
    """Lines as a block of code that they cannot end."""
    shown = [visible(line) for line in lines]
    ticks = max(map(len, re.findall("`+", "\n".join(shown))), default=0)
    fence = "`" * max(3, ticks + 1)
    return [f"{fence}{language}", *shown, fence]


def _command(file: Opened, origin: Origin, model: str) -> str:
    """The command that makes a file."""
    name, overrides = as_argument(file.file.name), origin.overrides
    words = ["quantkit", "quantize", model, name, origin.recipe.name]
    if overrides.types or len(overrides.tensor_types) > MOST_PATTERNS:
        words += ["--recipe-from", name]
    else:
        for each in overrides.tensor_types:
            words += ["--tensor-type", f"{each.pattern}={each.type.name}"]
    words += ["--pure"] if overrides.pure else []
    words += ["--leave-output-tensor"] if overrides.leave_output_tensor else []
    for option, type in (
        ("--output-tensor-type", overrides.output_tensor_type),
        ("--token-embedding-type", overrides.token_embedding_type),
    ):
        words += [] if type is None else [option, type.name]
    if IMATRIX_FILE in file.metadata:
        words += ["--imatrix", _imatrix(file.metadata)]
    record = CalibrationRecord.of(file.metadata, str(file.path))
    if record is not None:
        texts = ["builtin"] if record.builtin is not None else ["TEXT"]
        words += ["--calibrate", *texts, "--effort", record.settings.effort]
        words += ["--calibration-tokens", str(record.settings.tokens)]
    return shlex.join([*words, "--provenance"])


def _facts(file: Opened) -> list[str]:
    """What a file records, as sentences; the same ones of several files are one."""
    metadata, facts = file.metadata, []
    if IMATRIX_FILE in metadata:
        facts.append(_importance(metadata))
    record = CalibrationRecord.of(metadata, str(file.path))
    if record is not None:
        kind = "texts of the user" if record.builtin is None else "quantkit's own texts"
        facts.append(
            f"Calibrated rounding on {len(record.hashes)} {kind}, "
            f"{record.settings.tokens:,} tokens, effort "
            f"{markdown_text(record.settings.effort)}."
        )
    version, source = text_of(metadata, VERSION), text_of(metadata, SOURCE_HASH)
    if version and source:
        facts.append(
            f"Made by quantkit {markdown_text(version)} from a model with the SHA-256 "
            f"{markdown_text(source)}: `quantkit verify` checks it."
        )
    return facts


def _importance(metadata: Mapping[str, Field]) -> str:
    """A sentence about the importance matrix."""
    name = markdown_text(_imatrix(metadata))
    said = f"Importance matrix: {name}"
    text = _base_name(text_of(metadata, f"{IMATRIX_PREFIX}dataset") or "")
    if text:
        said += f", collected on {markdown_text(text)}"
    chunks = metadata.get(f"{IMATRIX_PREFIX}chunks_count")
    if chunks is not None and isinstance(chunks.value, int):
        said += f", {chunks.value:,} chunks"
    return f"{said}."


def _imatrix(metadata: Mapping[str, Field]) -> str:
    """The name of the importance matrix; "imatrix.gguf" if it has none."""
    return _base_name(metadata[IMATRIX_FILE].value) or "imatrix.gguf"


def _base_name(path: object) -> str:
    """The name of a file without its folders, which are the publisher's own matter."""
    return re.split(r"[/\\]", str(path))[-1]
