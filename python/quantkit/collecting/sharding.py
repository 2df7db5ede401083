"""Collect an importance matrix in shares of the chunks, and put them together.

A shard is the file of a stopped run (see `totals`), with what describes the whole:

    "shard": {"shard": [3, 16], "of": {...}, "chunks": of all shards,
              "described": {"ctx": ..., ...}, "command": [...]}

`of` is everything that determines the sums, by its name in messages; all shards of a
run have the same.  Since sums are exact, those of all shards are those of one run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..display import Displayed
from ..errors import FormatError, OptionError, OutputError
from ..evaluate.missing_shards import CommandOf, refuse_left
from ..evaluate.places import Share, share_of
from ..evaluate.shard_files import refuse_other_run
from ..execution.workers import Workers
from ..files.locks import alone_on
from ..files.target import target_of
from ..importance.matrix import ImportanceMatrix
from ..importance.sums import F64
from ..notebook import shows_progress
from ..parameters import check_callbacks
from ..paths import StrPath, as_path, listed
from ..progress import Progress
from ..settings import NULL, OBJECT, SIZE, TEXT, checked, either, list_of, table_of
from ..sources.opening import ModelLike
from ..tokens.options import DEFAULT, TextOptions
from ..tokens.texts import TextLike
from .collection import SAVE_EVERY, Collection
from .described import Described, matrix_of
from .totals import Totals, read_totals, refuse_foreign

__all__ = [
    "ImatrixShard",
    "collect_shard",
    "imatrix_shard",
    "merge_imatrix_shards",
    "merged",
]


@dataclass(frozen=True)
class ImatrixShard(Displayed):
    """A collected shard of an importance matrix.

    Attributes:
        number: which shard it is, from 1 to `count`.
        count: the number of shards.
        chunks: the number of its chunks; 0 if there are fewer chunks than shards.
        path: the file that has the sums.
    """

    number: int
    count: int
    chunks: int
    path: Path


@shows_progress
def imatrix_shard(
    model: ModelLike,
    text: TextLike | Sequence[TextLike],
    *,
    shard: tuple[int, int],
    save: StrPath,
    options: TextOptions = DEFAULT,
    activations: str | None = None,
    process_output: bool = False,
    perplexity: bool = True,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
) -> ImatrixShard:
    """Collect one of several equal shards of an importance matrix into a file.

    All shards are collected with the same arguments, on any machines; then
    `merge_imatrix_shards` makes of their files what `imatrix` would have given.  A call
    that was stopped goes on with the same arguments.

    Args:
        model: as for `imatrix`; files, which each machine reads whole once more, to
            know them again.
        text: as for `imatrix`.
        shard: which one, and of how many: (3, 16) is the third of 16.  It has every
            16th chunk, from the third on.
        save: the file for the sums, one for each shard.
        options: as for `imatrix`.
        activations: as for `imatrix`.
        process_output: as for `imatrix`.
        perplexity: as for `imatrix`.
        threads: as for `imatrix`.
        progress: as for `imatrix`.

    Raises:
        OutputError: `save` holds another shard, or something else.
        QuantkitError: as for `imatrix`.

    Example:
        >>> text = Path("wiki.txt")
        >>> imatrix_shard(
        ...     "model.gguf", text, shard=(3, 16), save="3.shard"
        ... )  # doctest: +SKIP
        ImatrixShard(number=3, count=16, chunks=41, path=...)
    """
    check_callbacks(progress=progress)
    return collect_shard(
        *(model, text, share_of(shard), target_of(as_path(save, "save")).path),
        progress=progress,
        options=options,
        activations=activations,
        process_output=process_output,
        perplexity=perplexity,
        threads=threads,
    )


def collect_shard(
    model: ModelLike,
    text: TextLike | Sequence[TextLike],
    share: Share,
    save: Path,
    *,
    command: Sequence[str] | None = None,
    save_every: int = SAVE_EVERY,
    progress: Progress | None = None,
    **options: Any,
) -> ImatrixShard:
    """The same; `command` has the words of the command that does it.

    A symbolic link as `save` is not followed.
    """
    with alone_on(save):
        _refuse_other(save, share)
        collection = Collection(
            *(model, text), save=save, save_every=save_every, share=share, **options
        )
        about = About(
            share,
            {
                "the number of shards": str(share.count),
                **collection.determining(progress),
            },
            collection.n_chunks_of_all,
            collection.described,
            command,
        )
        collection.run_shard(about.to_dict(), progress)
    return ImatrixShard(share.number, share.count, collection.n_chunks, save)


@dataclass(frozen=True)
class About:
    """What the file of a shard says of the run.

    Attributes:
        share: which shard it is.
        of: everything that determines the sums, by its name in messages.
        chunks: the number of chunks of all shards.
        described: what is summed.
        command: the words of the command that collected it; None: it was no command.
    """

    share: Share
    of: Mapping[str, str]
    chunks: int
    described: Described
    command: Sequence[str] | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data = asdict(self)
        del data["share"]
        return {"shard": [self.share.number, self.share.count], **data}

    @classmethod
    def from_dict(cls, data: Any, where: str) -> About:
        """What `to_dict` gave.

        Raises:
            FormatError: it is something else.
        """
        checked(data, OBJECT, where)
        try:
            share = share_of(data.get("shard"))
        except OptionError as error:
            raise FormatError(f"{where}: {error}") from None
        described = checked(data.get("described"), OBJECT, f"{where}: described")
        kinds = {
            "ctx": SIZE,
            "texts": list_of(TEXT),
            "activations": TEXT,
            "device": TEXT,
        }
        values = {
            key: checked(described.get(key), kind, f"{where}: {key}")
            for key, kind in kinds.items()
        }
        return cls(
            share,
            checked(data.get("of"), table_of(TEXT), f"{where}: of"),
            checked(data.get("chunks"), SIZE, f"{where}: chunks"),
            Described(**values),
            checked(data.get("command"), either(NULL, list_of(TEXT)), where),
        )


@dataclass(frozen=True, eq=False)
class _Saved:
    """What the file of a shard holds."""

    path: Path
    about: About
    totals: Totals

    @property
    def is_finished(self) -> bool:
        share = self.about.share
        return self.totals.n_chunks == share.size(self.about.chunks)


def merge_imatrix_shards(shards: StrPath | Sequence[StrPath]) -> ImportanceMatrix:
    """What `imatrix` would have given, from the files of all its shards.

    Only these files are read.  A shard may be given twice, such as one that was also
    collected elsewhere: its sums are the same, or one of the machines is broken.

    Args:
        shards: the files that `imatrix_shard` saved, in any order.

    Raises:
        OptionError: a shard is missing or not finished; or two are of different runs,
            or have different sums.
        FormatError: a file is damaged, or not that of a shard.

    Example:
        >>> merge_imatrix_shards(["1.shard", "2.shard"]).save(
        ...     "imatrix.gguf"
        ... )  # doctest: +SKIP
    """
    paths = [as_path(each, "shards") for each in listed(shards)]
    if not paths:
        raise OptionError("`shards` is empty; expected the files of all shards")
    return merged(paths, lambda share, about: None)


def merged(paths: Sequence[Path], command_of: CommandOf) -> ImportanceMatrix:
    """The same; `command_of` is for the message if a shard is missing."""
    found = [_read(path) for path in paths]
    first = found[0]
    for each in found:
        refuse_other_run(each.path, each.about.of, first.path, first.about.of)
        _refuse_unlike(each, first)
    by_number: dict[int, _Saved] = {}
    for each in found:
        known = by_number.setdefault(each.about.share.number, each)
        _refuse_different(known, each)
        if each.totals.n_chunks > known.totals.n_chunks:
            by_number[each.about.share.number] = each
    about, n_chunks = first.about, first.about.chunks
    left = [
        share
        for share in about.share.all()
        if share.size(n_chunks)
        if share.number not in by_number or not by_number[share.number].is_finished
    ]
    refuse_left(left, [(e.about, e.path) for e in by_number.values()], command_of)
    totals = Totals({})
    nll: dict[int, F64] = {}
    for number, each in sorted(by_number.items()):
        totals.join(each.totals)
        places = range(number - 1, n_chunks, about.share.count)
        nll.update(zip(places, each.totals.nll, strict=True))
    totals.nll = [nll[i] for i in range(n_chunks)]
    return matrix_of(totals, about.described)


def _read(path: Path) -> _Saved:
    """Read the file of a shard.

    Raises:
        FormatError: it is damaged, or no such file.
    """
    about, totals = read_totals(path)
    if "shard" not in about:
        raise FormatError(f"{path} does not say of which shard it is")
    saved = _Saved(path, About.from_dict(about["shard"], str(path)), totals)
    share = saved.about.share
    if totals.n_chunks > share.size(saved.about.chunks):
        raise FormatError(f"{path} has more chunks than shard {share}")
    return saved


def _refuse_unlike(one: _Saved, other: _Saved) -> None:
    """Refuse a file that says something else of the same run than another one.

    Raises:
        FormatError: it does.
    """
    shapes, others = one.totals.shapes(), other.totals.shapes()
    both = shapes.keys() & others.keys()
    n_scored = {len(nll) for each in (one, other) for nll in each.totals.nll[:1]}
    is_like = (
        one.about.chunks == other.about.chunks
        and one.about.described == other.about.described
        and one.about.share.count == other.about.share.count
        and all(shapes[name] == others[name] for name in both)
        and len(n_scored) < 2
    )
    if not is_like:
        raise FormatError(
            f"{one.path} and {other.path} differ in what they are of; one is damaged"
        )


def _refuse_different(one: _Saved, other: _Saved) -> None:
    """Refuse two files of one shard whose sums differ.

    Raises:
        OptionError: they do.
    """
    if one.totals.n_chunks == other.totals.n_chunks and one.totals != other.totals:
        raise OptionError(
            f"{one.path} and {other.path} are the same shard, but have different sums; "
            "one of the machines or files is damaged: collect the shard again on "
            "another one"
        )


def _refuse_other(save: Path, share: Share) -> None:
    """Refuse the file of another shard, which a job array may have given.

    Raises:
        OutputError: it is there, or holds something else.
    """
    refuse_foreign(save)
    try:
        about, _ = read_totals(save)
    except (FileNotFoundError, FormatError):
        return
    found = about.get("shard")
    own = [share.number, share.count]
    if isinstance(found, dict) and (other := found.get("shard", own)) != own:
        raise OutputError(
            f"{save} holds another shard, {'/'.join(map(str, other))}; save shard "
            f"{share} in a file of its own"
        )
