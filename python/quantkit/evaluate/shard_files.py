"""The file of a shard: the scores of its chunks, and what the whole run is.

It is a file of saved scores (see `saved`), with a record that describes the run, so
that the shards can be put together where there is neither model nor text:

    {"key": "shard", "about": {"shard": [3, 16], "of": ..., "described": ...,
     "keys": ..., "command": ...}}

`of` is everything that determines the scores, by its name in messages; all shards of a
run have the same.  `keys` has a list for each row: the key of the record of its seconds
to quantize, and those of its chunks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..errors import FormatError, OptionError
from ..execution.workers import Workers
from ..files.identity import hash_pieces
from ..files.records import read_records
from ..gguf.content import content_of
from ..progress import Progress
from ..settings import NULL, TEXT, checked, either, list_of, table_of
from ..tokens.chunks import Chunks
from .described import Described
from .known import Known
from .places import Place, Share, in_turn, share_of
from .saved import ABOUT, Timed, is_record, scores_in, seconds_in

__all__ = [
    "VERSION",
    "About",
    "SavedShard",
    "determining",
    "read_shard",
    "refuse_other_run",
    "tokens_hash",
]

VERSION = "the version of quantkit"
"""The name of the first thing that determines scores."""

HASH = re.compile(r"[0-9a-f]{32}")
"""A value that a person cannot compare."""


@dataclass(frozen=True)
class About:
    """What the file of a shard says of the run.

    Attributes:
        share: which shard it is.
        of: everything that determines the scores, by its name in messages.
        described: the comparison of which it is a shard.
        keys: the keys of each row's records: of its seconds, then of its chunks.
        command: the words of the command that measured it; None: it was no command.
    """

    share: Share
    of: Mapping[str, str]
    described: Described
    keys: Sequence[Sequence[str]]
    command: Sequence[str] | None

    @property
    def places(self) -> list[Place]:
        """The chunks of the shard."""
        return self.share.of(in_turn(text.chunks for text in self.described.texts))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        shard = [self.share.number, self.share.count]
        data = asdict(self)
        del data["share"]
        return {"shard": shard, **data}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str) -> About:
        """What `to_dict` gave.

        Raises:
            FormatError: it is something else.
        """
        try:
            share = share_of(data.get("shard"))
        except OptionError as error:
            raise FormatError(f"{where}: {error}") from None
        about = cls(
            share,
            checked(data.get("of"), table_of(TEXT), f"{where}: of"),
            Described.from_dict(data.get("described"), f"{where}: described"),
            checked(data.get("keys"), list_of(list_of(TEXT)), f"{where}: keys"),
            checked(data.get("command"), either(NULL, list_of(TEXT)), where),
        )
        total = sum(text.chunks for text in about.described.texts)
        expected = [1 + share.size(total)] * len(about.described.rows)
        if [*map(len, about.keys)] != expected:
            raise FormatError(f"{where}: keys are missing")
        return about


def refuse_other_run(
    path: Path, of: Mapping[str, str], first_path: Path, first: Mapping[str, str]
) -> None:
    """Refuse a shard of another run, and shards of another version.

    Args:
        path: the file of this shard.
        of: everything that determines what is in it, by its name in messages.
        first_path, first: of another one.

    Raises:
        OptionError: they differ; what differs is named.
    """
    for what in dict.fromkeys([*first, *of]):
        own, other = of.get(what, "none"), first.get(what, "none")
        if own != other:
            is_readable = not (HASH.fullmatch(own) or HASH.fullmatch(other))
            values = f": {own}, and there {other}" if is_readable else ""
            raise OptionError(
                f"{path} and {first_path} are shards of different runs; they "
                f"differ in {what}{values}; all need the same arguments, version "
                "of quantkit and QUANTKIT_BACKEND"
            )
    version = of.get(VERSION)
    if version != __version__:
        raise OptionError(
            f"{path} was measured by quantkit {version}, and this is {__version__}; "
            "merge shards with the version that measured them"
        )


def determining(
    known: Known,
    described: Described,
    workers: Workers,
    progress: Progress | None,
) -> dict[str, str]:
    """Everything that determines the scores of a run, by its name in messages.

    Files count by what is in them, not by their paths and times, so that each machine
    may have its own copy.

    Args:
        known: the entries and texts.
        described: the same without models and texts.
        workers: they read the files of the models.
        progress: called after each piece of a file.
    """
    rows = [row.name for row in described.rows]
    of = {
        VERSION: __version__,
        "the instruction set, or the device": str(known.computing.place),
        "the number of shards": str(known.share.count),
        "the context": f"{described.ctx} tokens",
        "the stride": str(described.stride),
        "the activations": described.activations,
        "the texts": ", ".join(text.name for text in known.texts),
        "the base": rows[0],
        "the rows": ", ".join(rows),
    }
    for i, text in enumerate(known.texts, start=1):
        which = f"{text.name} (text {i})"
        of[f"the number of chunks of {which}"] = str(len(text.chunks))
        of[f"the tokens of {which}"] = tokens_hash(text.chunks)
    contents: dict[int, str] = {}
    for entry in known.entries:
        source = entry.source
        if id(source) not in contents:
            contents[id(source)] = content_of(source, workers, progress)
        of[f"the model of {entry.name}"] = contents[id(source)]
    for entry in known.entries:
        how = f"how {entry.name} is made: its types, importance or calibration"
        of[how] = hash_pieces([entry.made_how.encode(), entry.activations.encode()])
    return of


def tokens_hash(chunks: Chunks) -> str:
    """A hash of the tokens of a text."""
    return hash_pieces([chunks.tokens.tobytes(), str(chunks.bos).encode()])


@dataclass(frozen=True, eq=False)
class SavedShard:
    """What the file of a shard holds.

    Attributes:
        path: the file.
        about: what it says of the run.
        timed: (name of the row, chunk) -> scores and seconds, as far as measured.
        seconds: name of the row -> seconds to quantize.
    """

    path: Path
    about: About
    timed: Mapping[tuple[str, Place], Timed]
    seconds: Mapping[str, float]

    @property
    def n_missing(self) -> int:
        """The number of scores of chunks that are not measured yet."""
        return len(self.about.described.rows) * len(self.about.places) - len(self.timed)


def read_shard(path: Path) -> SavedShard:
    """Read the file of a shard.

    Raises:
        FormatError: it is damaged, or no such file.
        OSError: it cannot be read.
    """
    records = {}
    for record in read_records(path):
        if not is_record(record):
            raise FormatError(f"{path} has a record that is not of saved scores")
        records[record["key"]] = record
    if ABOUT not in records:
        raise FormatError(
            f"{path} does not say of which shard it is; it holds other scores, or was "
            "stopped before it began"
        )
    about = About.from_dict(records[ABOUT]["about"], str(path))
    described, timed, seconds = about.described, {}, {}
    for row, (own, *keys) in zip(described.rows, about.keys, strict=True):
        quantize_seconds = seconds_in(records.get(own))
        if quantize_seconds is not None:
            seconds[row.name] = quantize_seconds
        for place, key in zip(about.places, keys, strict=True):
            if key in records:
                timed[row.name, place] = _scores(records[key], described, path)
    return SavedShard(path, about, timed, seconds)


def _scores(record: Mapping[str, Any], described: Described, path: Path) -> Timed:
    """The scores of a record.

    Raises:
        FormatError: they are not those of a chunk.
    """
    found = scores_in(record)
    if found is not None:
        scores = found.scores
        is_finite = np.isfinite([scores.nll, scores.kld]).all()
        if is_finite and len(scores.nll) == described.n_scored:
            return found
    raise FormatError(f"{path} has scores that are not those of a chunk")
