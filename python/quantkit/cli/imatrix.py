"""The command `imatrix`: collect, merge or show importance matrices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..collecting.collection import SAVE_EVERY, Collection
from ..collecting.sharding import collect_shard, merged
from ..collecting.totals import holds_sums
from ..errors import OptionError
from ..evaluate.places import Share
from ..files.locks import alone_on
from ..files.target import beside, real_path, target_of
from ..files.whole_file import refuse_input, refuse_unwritable
from ..importance.matrix import DEFAULT_CHUNK_SIZE, ImportanceMatrix, check_name
from ..importance.presentation import layer_cells, summary, summary_lines, tensor_cells
from ..tokens.options import TextOptions
from .bars import progress_bar
from .clusters import on_cluster
from .console import print_json, print_result
from .messages import words_typed
from .options import (
    Activations,
    Chat,
    Chunks,
    Ctx,
    Json,
    ModelDevice,
    Quiet,
    Threads,
    output_option,
    usage,
)
from .shards import command_of, parse_shard, refuse_given

__all__ = ["imatrix_command"]


@on_cluster
def imatrix_command(
    context: typer.Context,
    models: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="MODEL|IMATRIX",
            help="A GGUF file (any shard) or a checkpoint folder, to run on --text; "
            "an importance matrix to --show; or more files to --merge.",
        ),
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A UTF-8 text file; of a .jsonl file, the field `text` of each line. "
            "Repeatable: texts are read one after the other.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        output_option(
            "File to write: NAME.gguf in GGUF, NAME.dat in the older format."
        ),
    ] = None,
    merge: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="IMATRIX",
            help="Add another importance matrix (GGUF or .dat) of the same model. "
            "Repeatable. Without --text, merge or convert files; or put together the "
            "files of all shards.",
        ),
    ] = None,
    shard: Annotated[
        Share | None,
        typer.Option(
            parser=usage(parse_shard),
            metavar="N/COUNT",
            help="Collect only shard N of COUNT equal ones into --save FILE, for job "
            "arrays. Then: imatrix --merge FILES.",
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file of a --shard."),
    ] = None,
    show: Annotated[
        bool,
        typer.Option("--show", help="Show statistics of each tensor and each layer."),
    ] = False,
    chat: Chat = False,
    ctx: Ctx = DEFAULT_CHUNK_SIZE,
    chunks: Chunks = None,
    process_output: Annotated[
        bool,
        typer.Option("--process-output", help="Include the output head."),
    ] = False,
    ppl: Annotated[
        bool,
        typer.Option("--ppl/--no-ppl", help="Measure the perplexity of the text."),
    ] = True,
    activations: Activations = None,
    device: ModelDevice = "cpu",
    save_every: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Save the sums after every N chunks, to resume a killed run.",
        ),
    ] = SAVE_EVERY,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Collect an importance matrix: how much each column of weights matters.

    A stopped run resumes where it stopped. Ctrl-C writes the matrix collected so far.
    """
    output = _Output(out, show=show, json=json)
    if (shard is None) != (save is None):
        raise typer.BadParameter("--shard and --save FILE belong together")
    files = models or []
    if len(files) > 1 and not (merge and not text):
        raise typer.BadParameter(
            f"expected one MODEL, and got {len(files)}; to merge files: --merge"
        )
    model = files[0] if files else None
    if shard is not None and save is not None:
        refuse_given(
            context,
            {"out", "merge", "show", "json", "device"},
            "is not for a --shard, which collects on the CPU into --save FILE",
        )
        if model is None or not text:
            raise typer.BadParameter("--shard needs a MODEL and a --text to run on")
        refuse_input("--save", save, {"--text": text, "MODEL": model})
        _collect_shard(
            *(model, text, shard, save),
            quiet=quiet,
            save_every=save_every,
            options=TextOptions(ctx, chunks, chat=chat),
            activations=activations,
            process_output=process_output,
            perplexity=ppl,
            threads=threads,
        )
    elif text:
        if model is None:
            raise typer.BadParameter("--text needs a MODEL to run on it")
        others = ImportanceMatrix.load_merged(merge, ctx) if merge else None
        output.refuse_inputs({"--text": text, "MODEL": model})
        target = output.checked()
        kept = beside(target, ".{}.sums")
        with nullcontext() if kept is None else alone_on(real_path(target)):
            collection = Collection(
                *(model, text),
                options=TextOptions(ctx, chunks, chat=chat),
                activations=activations,
                device=device,
                process_output=process_output,
                perplexity=ppl,
                threads=threads,
                save=kept,
                save_every=save_every,
            )
            if others is not None:
                collection.refuse_unlike(others)
            found = _collect(collection, others, output, quiet)
            if kept is not None:
                kept.unlink(missing_ok=True)
        output.show(found)
    elif merge:
        output.checked()
        output.give(_merged([*merge, *files], ctx))
    elif model is not None and show:
        if out is not None:
            raise typer.BadParameter(
                f"to write {model} to {out}: quantkit imatrix --merge {model} -o {out}"
            )
        output.give(ImportanceMatrix.load(model, ctx))
    else:
        raise typer.BadParameter(
            "expected MODEL and --text, to collect; --merge, to merge files; or "
            "IMATRIX and --show"
        )


def _collect_shard(
    model: Path,
    text: Sequence[Path],
    share: Share,
    save: Path,
    *,
    quiet: bool,
    **how: Any,
) -> None:
    """Collect a shard, and say what was done."""
    refuse_unwritable(save)
    target = target_of(save).path
    try:
        with progress_bar(quiet) as progress:
            found = collect_shard(
                *(model, text, share, target),
                command=words_typed(),
                progress=progress,
                **how,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"the sums so far are in {save}; repeat the command to resume"
        ) from None
    done = f"shard {share}: {found.chunks} chunks, in {save}"
    if not found.chunks:
        done = f"shard {share} has nothing to do: there are fewer chunks than shards"
    print_result(done)
    print_result("when all are collected: quantkit imatrix --merge FILES -o IMATRIX")


def _merged(files: Sequence[Path], ctx: int) -> ImportanceMatrix:
    """Several matrices added up, or all shards of one put together.

    Raises:
        OptionError: there are both.
    """
    shards = [path for path in files if holds_sums(path)]
    if not shards:
        return ImportanceMatrix.load_merged(files, ctx)
    if len(shards) < len(files):
        other = next(path for path in files if path not in shards)
        raise OptionError(
            f"{shards[0]} is a shard, and {other} an importance matrix; merge the "
            "shards of a run first"
        )
    return merged(shards, command_of)


def _collect(
    collection: Collection,
    others: ImportanceMatrix | None,
    output: _Output,
    quiet: bool,
) -> ImportanceMatrix:
    """Collect all chunks and write the matrix; at Ctrl-C, write the matrix so far."""

    def written(found: ImportanceMatrix) -> ImportanceMatrix:
        return output.written(found if others is None else found.merged(others, found))

    try:
        with progress_bar(quiet) as progress:
            found = collection.run(progress)
    except KeyboardInterrupt:
        if (so_far := collection.so_far()) is not None:
            output.show(written(so_far))
        raise KeyboardInterrupt(
            f"collected {collection.chunks_done} of {collection.n_chunks} chunks; "
            "repeat the command to resume"
        ) from None
    return written(found)


class _Output:
    """Writes and prints a matrix.

    Args:
        out: the file to write; None: none.
        show: print its statistics.
        json: print JSON.
    """

    def __init__(self, out: Path | None, *, show: bool, json: bool) -> None:
        self._out, self._show, self._json = out, show, json

    def checked(self) -> Path:
        """The file to write, checked to be writable."""
        if self._out is None:
            raise typer.BadParameter("-o FILE is missing: the file to write")
        check_name(self._out)
        if self._out.suffix.lower() == ".gguf":
            target_of(self._out)
        refuse_unwritable(self._out)
        return self._out

    def refuse_inputs(self, inputs: Mapping[str, Path | Iterable[Path]]) -> None:
        """Refuse to overwrite an input file."""
        if self._out is not None:
            refuse_input("-o", self._out, inputs)

    def give(self, matrix: ImportanceMatrix) -> None:
        """Write and print the matrix."""
        self.show(self.written(matrix))

    def written(self, matrix: ImportanceMatrix) -> ImportanceMatrix:
        """Write the matrix, and return it with the file as its origin."""
        if self._out is None:
            return matrix
        matrix.save(self._out)
        return replace(matrix, origin=str(self._out))

    def show(self, matrix: ImportanceMatrix) -> None:
        """Print the matrix."""
        statistics = matrix.statistics()
        if self._json:
            data = {"imatrix": matrix.origin, **summary(matrix)}
            if self._show:
                data["statistics"] = statistics.to_dict()
            print_json(data)
            return
        if self._show:
            print_result(tensor_cells(statistics.tensors), "")
            print_result(layer_cells(statistics.layers), "")
        print_result(*summary_lines(matrix))
