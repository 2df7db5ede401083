"""The command `imatrix`: an importance matrix collected, merged, or shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from ..collecting.collection import SAVE_EVERY, Collection
from ..files.locks import alone_on
from ..files.whole_file import refuse_input, refuse_unwritable
from ..importance.matrix import DEFAULT_CHUNK_SIZE, ImportanceMatrix, check_name
from ..importance.presentation import layer_cells, summary, summary_lines, tensor_cells
from ..inference.weights import DEFAULT_ACTIVATIONS
from ..tokens.options import TextOptions
from .console import print_json, print_result, progress_bar
from .options import Chat, Chunks, Ctx, Json, Precision, Quiet, Threads
from .tables import cells_table

__all__ = ["imatrix_command"]


def imatrix_command(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL|IMATRIX",
            help="A GGUF file (any shard) or a checkpoint folder, to run on a --text; "
            "or an importance matrix to --show.",
        ),
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option(
            help="A UTF-8 text file; of a .jsonl file, the field `text` of each line. "
            "Repeat for more: one after the other.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="What is written: GGUF to NAME.gguf, the older format to NAME.dat.",
        ),
    ] = None,
    merge: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="IMATRIX",
            help="Add another importance matrix (GGUF or .dat) of the same model. "
            "Repeat for more. Without MODEL and --text, files are merged or converted.",
        ),
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
        typer.Option("--process-output", help="The output head, too."),
    ] = False,
    ppl: Annotated[
        bool,
        typer.Option("--ppl/--no-ppl", help="Measure the perplexity of the text."),
    ] = True,
    activations: Annotated[
        Precision,
        typer.Option(
            help="How exactly activations are held in products: i16, exact for this "
            "purpose; q8, 8 bits as llama.cpp's CPU path has them; or f32.",
        ),
    ] = DEFAULT_ACTIVATIONS,
    save_every: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Keep the sums after every N chunks, so that a run that is killed "
            "goes on from there.",
        ),
    ] = SAVE_EVERY,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Collect an importance matrix: which columns of weights matter on a text.

    A run that was stopped goes on where it stopped; Ctrl-C writes what is collected.
    """
    output = _Output(out, show=show, json=json)
    if text:
        if model is None:
            raise typer.BadParameter("--text needs the MODEL that reads it")
        others = ImportanceMatrix.load_merged(merge, ctx) if merge else None
        for path in text:
            output.refuse_input("--text", path)
        output.refuse_input("MODEL", model)
        target = output.checked()
        kept = target.with_name(f".{target.name}.sums")
        with alone_on(target):
            collection = Collection(
                *(model, text),
                options=TextOptions(ctx, chunks, chat=chat),
                activations=activations,
                process_output=process_output,
                perplexity=ppl,
                threads=threads,
                save=kept,
                save_every=save_every,
            )
            if others is not None:
                collection.refuse_unlike(others)
            found = _collect(collection, others, output, quiet)
            kept.unlink(missing_ok=True)
        output.show(found)
    elif merge:
        if model is not None:
            raise typer.BadParameter(
                "MODEL has no --text to read; leave it out to merge files"
            )
        output.checked()
        output.give(ImportanceMatrix.load_merged(merge, ctx))
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


def _collect(
    collection: Collection,
    others: ImportanceMatrix | None,
    output: _Output,
    quiet: bool,
) -> ImportanceMatrix:
    """Collect all chunks, and write the matrix; at Ctrl-C that of what there is."""

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
            "the same command goes on from here"
        ) from None
    return written(found)


class _Output:
    """What becomes of a matrix.

    Args:
        out: where it is written; None: nowhere.
        show: print its statistics.
        json: print JSON.
    """

    def __init__(self, out: Path | None, *, show: bool, json: bool) -> None:
        self._out, self._show, self._json = out, show, json

    def checked(self) -> Path:
        """Where it is written, once it is sure that it can be."""
        if self._out is None:
            raise typer.BadParameter("-o FILE is missing: where the matrix is written")
        check_name(self._out)
        refuse_unwritable(self._out)
        return self._out

    def refuse_input(self, option: str, path: Path) -> None:
        """Refuse to write it over what is read."""
        if self._out is not None:
            refuse_input("-o", self._out, {option: path})

    def give(self, matrix: ImportanceMatrix) -> None:
        """Write and print it."""
        self.show(self.written(matrix))

    def written(self, matrix: ImportanceMatrix) -> ImportanceMatrix:
        """The same, once it is written."""
        if self._out is None:
            return matrix
        matrix.save(self._out)
        return replace(matrix, origin=str(self._out))

    def show(self, matrix: ImportanceMatrix) -> None:
        """Print it."""
        statistics = matrix.statistics()
        if self._json:
            data = {"imatrix": matrix.origin, **summary(matrix)}
            if self._show:
                data["statistics"] = statistics.to_dict()
            print_json(data)
            return
        parts: list[RenderableType] = [Text(summary_lines(matrix))]
        if self._show:
            tensors = cells_table(tensor_cells(statistics.tensors))
            layers = cells_table(layer_cells(statistics.layers))
            parts = [tensors, Text(), layers, Text(), *parts]
        print_result(Group(*parts))
