"""Measure a share of a comparison's chunks, for machines that do not know each other.

A shard has all models and types, and every `count`-th chunk.  Types are compared with
the base on the same tokens.  So a chunk with all of them can be measured alone, and the
base is evaluated once for each chunk, as on one machine.  But each shard quantizes all
types again.  `merging` puts the shards together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..calibrating.calibration import Calibration
from ..display import Displayed
from ..errors import OutputError
from ..execution.workers import Workers
from ..files.target import target_of
from ..importance.given import ImportanceLike
from ..notebook import shows_progress
from ..parameters import check_callbacks, check_flags
from ..paths import StrPath, as_path
from ..progress import Notify, Progress
from ..recipes.mixes import RecipeLike
from ..sources.opening import ModelLike
from ..tokens.options import DEFAULT, TextOptions
from ..tokens.texts import TextLike
from .comparing import prepare
from .entries import say_on_grid
from .places import Share, share_of
from .run import ComparisonRun
from .saved import SavedScores
from .shard_files import About, determining

__all__ = ["Shard", "ShardRun", "compare_shard"]


@dataclass(frozen=True)
class Shard(Displayed):
    """A measured shard of a comparison.

    Attributes:
        number: which shard it is, from 1 to `count`.
        count: the number of shards.
        chunks: the number of its chunks; 0 if there are fewer chunks than shards.
        rows: the names of the measured models and types, the base first.
        path: the file that has the scores.
    """

    number: int
    count: int
    chunks: int
    rows: tuple[str, ...]
    path: Path


@shows_progress
def compare_shard(
    model: ModelLike | Sequence[ModelLike],
    types: StrPath | RecipeLike | Sequence[StrPath | RecipeLike] = (),
    *,
    text: TextLike | Sequence[TextLike],
    shard: tuple[int, int],
    save: StrPath,
    base: str | None = None,
    options: TextOptions = DEFAULT,
    activations: str | None = None,
    device: str = "cpu",
    importance: ImportanceLike | None = None,
    calibration: Calibration | None = None,
    allow_requantize: bool = False,
    threads: int | Workers | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
    notify: Notify | None = None,
) -> Shard:
    """Measure one of several equal shards of a comparison into a file.

    All shards of a comparison are measured with the same arguments, on any machines;
    then `merge_shards` makes of their files what `compare` would have given.  A call
    that was stopped goes on with the same arguments.

    Args:
        model: as for `compare`; files, which each machine reads whole once more, to
            know them again.
        types: as for `compare`.
        text: as for `compare`.
        shard: which one, and of how many: (3, 16) is the third of 16.  It has every
            16th chunk, from the third on.
        save: the file for the scores, one for each shard.
        base: as for `compare`.
        options: as for `compare`.
        activations: as for `compare`.
        device: as for `compare`.
        importance: as for `compare`.
        calibration: as for `compare`.
        allow_requantize: as for `compare`.
        threads: as for `compare`.
        memory: as for `compare`.
        progress: as for `compare`.
        notify: as for `compare`.

    Raises:
        OutputError: `save` holds another shard, or something else.
        QuantkitError: as for `compare`.

    Example:
        >>> text = Path("wiki.txt")
        >>> compare_shard(
        ...     "model.gguf", ["Q8_0"], text=text, shard=(3, 16), save="3.shard"
        ... )  # doctest: +SKIP
        Shard(number=3, count=16, chunks=41, rows=('F16', 'Q8_0'), path=...)
    """
    check_callbacks(progress=progress, notify=notify)
    check_flags(allow_requantize=allow_requantize)
    share, path = share_of(shard), target_of(as_path(save, "save")).path
    run = prepare(
        *(model, types),
        text=text,
        base=base,
        options=options,
        activations=activations,
        device=device,
        importance=importance,
        calibration=calibration,
        allow_requantize=allow_requantize,
        threads=threads,
        memory=memory,
        save=path,
    )
    return ShardRun(run, share, path).run(progress, notify)


class ShardRun:
    """Measures a share of the chunks of a run.

    Args:
        run: the run, which saves its scores.
        share: which of its chunks.
        path: the file in which it saves them.
        command: the words of the command that does it; None: it is no command.
    """

    def __init__(
        self,
        run: ComparisonRun,
        share: Share,
        path: Path,
        command: Sequence[str] | None = None,
    ) -> None:
        self._run = run
        self._share = run.known.share = share
        self._path = path
        self._command = command

    def run(
        self, progress: Progress | None = None, notify: Notify | None = None
    ) -> Shard:
        """Measure what is not known yet of the shard.

        Raises:
            OutputError: the file holds another shard.
            QuantkitError: as for `ComparisonRun.run`.
        """
        known, share = self._run.known, self._share
        say_on_grid(known.on_grid, notify)
        with self._run as run:
            assert run.saved is not None  # for mypy: the run saves its scores
            self._refuse_other(run.saved)
            run.saved.describe(self._about(progress).to_dict())
            run.measure(progress=progress, notify=notify)
        rows = tuple(entry.name for entry in known.entries)
        return Shard(share.number, share.count, known.n_places, rows, self._path)

    def _refuse_other(self, saved: SavedScores) -> None:
        """Refuse the file of another shard, which a job array may have given."""
        about = saved.about
        found = about.get("shard") if isinstance(about, dict) else None
        if found is not None and found != [self._share.number, self._share.count]:
            raise OutputError(
                f"{self._path} holds another shard, {'/'.join(map(str, found))}; save "
                f"shard {self._share} in a file of its own"
            )

    def _about(self, progress: Progress | None) -> About:
        """What describes the shard."""
        known, key = self._run.known, self._run.key
        described = known.described(known.entries)
        return About(
            self._share,
            determining(known, described, self._run.workers, progress),
            described,
            [[key(e), *(key(e, p) for p in known.places())] for e in known.entries],
            self._command,
        )
