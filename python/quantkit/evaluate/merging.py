"""Put the shards of a comparison together, where there is neither model nor text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import OptionError, OutputError
from ..files.target import real_path, target_of
from ..paths import StrPath, as_path, listed
from .described import Described
from .missing_shards import CommandOf, refuse_missing
from .places import Place, in_turn
from .results import Comparison
from .saved import SavedScores, Timed
from .shard_files import SavedShard, read_shard, refuse_other_run
from .tabulating import Tabulation

__all__ = ["merge_shards", "merged"]


def merge_shards(
    shards: StrPath | Sequence[StrPath], *, save: StrPath | None = None
) -> Comparison:
    """What `compare` would have given, from the files of all its shards.

    Only these files are read.  A shard may be given twice, such as one that was also
    measured elsewhere: its scores are the same, or one of the machines is broken.

    Args:
        shards: the files that `compare_shard` saved, in any order.
        save: a file for all scores, from which a later call of `compare` with the same
            model files goes on, with more types or chunks; None: do not save.

    Raises:
        OptionError: a shard is missing or not finished; or two are of different runs,
            or have different scores.
        FormatError: a file is damaged, or not that of a shard.
        OutputError: `save` cannot be written, or is one of the shards.

    Example:
        >>> merge_shards(["1.shard", "2.shard"]).results[0].kld_mean  # doctest: +SKIP
        0.0021
    """
    paths = [as_path(each, "shards") for each in listed(shards)]
    if not paths:
        raise OptionError("`shards` is empty; expected the files of all shards")
    return merged(paths, save, lambda share, about: None)


def merged(
    paths: Sequence[Path], save: StrPath | None, command_of: CommandOf
) -> Comparison:
    """The same; `command_of` is for the message if a shard is missing."""
    target = None if save is None else target_of(as_path(save, "save")).path
    if target is not None and target in map(real_path, paths):
        raise OutputError(f"cannot save in {save}: it is one of the shards")
    found = [read_shard(path) for path in paths]
    _refuse_unlike(found)
    found.sort(key=lambda each: each.about.share.number)
    described = found[0].about.described
    timed = _together(found, described)
    refuse_missing(found, timed, command_of)
    seconds = {k: v for each in reversed(found) for k, v in each.seconds.items()}
    if target is not None:
        _save(target, found, timed, seconds)
    return Tabulation(timed, seconds).comparison(described)


def _refuse_unlike(found: Sequence[SavedShard]) -> None:
    """Refuse shards of different runs, and those of another version."""
    first = found[0]
    for each in found:
        refuse_other_run(each.path, each.about.of, first.path, first.about.of)


def _together(
    found: Sequence[SavedShard], described: Described
) -> dict[str, dict[Place, Timed]]:
    """The scores of all shards: name of the row -> place -> scores and seconds.

    Raises:
        OptionError: a chunk has different scores in two of them.
    """
    timed: dict[str, dict[Place, Timed]] = {row.name: {} for row in described.rows}
    origin: dict[int, Path] = {}
    for shard in found:
        for (name, place), each in shard.timed.items():
            known = timed[name].setdefault(place, each)
            if known.scores != each.scores:
                raise OptionError(
                    f"{origin[shard.about.share.number]} and {shard.path} are the same "
                    f"shard, but have different scores of {name}; one of the machines "
                    "or files is damaged: measure the shard again on another one"
                )
        origin.setdefault(shard.about.share.number, shard.path)
    return timed


def _save(
    target: Path,
    found: Sequence[SavedShard],
    timed: dict[str, dict[Place, Timed]],
    seconds: dict[str, float],
) -> None:
    """Save all scores in the order in which one machine with enough memory does."""
    rows = found[0].about.described.rows
    keys = {
        (row.name, place): key
        for shard in reversed(found)
        for row, (own, *others) in zip(rows, shard.about.keys, strict=True)
        for place, key in [(None, own), *zip(shard.about.places, others, strict=True)]
    }
    with SavedScores(target) as saved:
        for name, each in seconds.items():
            if saved.seconds(keys[name, None]) is None:
                saved.add(keys[name, None], each)
        for place in in_turn(text.chunks for text in found[0].about.described.texts):
            for row in rows:
                key, known = keys[row.name, place], timed[row.name][place]
                if saved.scores(key) is None:
                    saved.add(key, known.seconds, known.scores)
