"""Write tests/fixtures/families/: the results of transformers and llama.cpp.

Needs torch, transformers and llama.cpp's source (see reference.py):

    QUANTKIT_LLAMACPP_SOURCE=... python -m tests.families.make_fixtures [CASE ...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cases import CASES, Case
from .checkpoints import weights, write_checkpoint
from .reference import describe_gguf, llamacpp_gguf, transformers_checkpoint
from .runnable import llamacpp_logits
from .stored import FIXTURES, known_rows, store, text_of


def made(
    case: Case, folder: Path
) -> tuple[dict[str, Any], NDArray[np.int32], NDArray[np.float32] | None]:
    """The fixture of one case, the tokens and their logits, if it is run."""
    rng = np.random.default_rng(len(case.name))
    text = text_of(case.config)
    tokens = rng.integers(3, text.get("vocab_size", 112), case.n_tokens)
    config, shapes, logits = dict(case.config), case.shapes, None
    if shapes is None:
        config, shapes, logits = transformers_checkpoint(case, folder / "hf", tokens)
    config = case.config_of(config)
    arrays = case.rename(case.prepare(weights(shapes)))
    how = case.stored_as, case.files, case.config_at
    checkpoint = write_checkpoint(folder / "model", config, arrays, *how)
    files = {
        outtype: describe_gguf(
            llamacpp_gguf(
                checkpoint, folder / f"{outtype}.gguf", outtype, is_raw=case.is_raw
            )
        )
        for outtype in ("f32", "f16")
    }
    ids = tokens.astype(np.int32)
    if not case.runs:
        logits = None
    elif logits is None:
        out = folder / "runnable.gguf"
        logits = llamacpp_logits(checkpoint, text["vocab_size"], ids, out)
    fixture = {
        "config": config,
        "shapes": {name: list(shape) for name, shape in shapes.items()},
        "metadata": files["f32"]["metadata"],
        "tensors": {kind: file["tensors"] for kind, file in files.items()},
    }
    return fixture, ids, logits


def make(case: Case, folder: Path) -> None:
    """Write the fixture of one case."""
    fixture, tokens, logits = made(case, folder)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    store(FIXTURES / f"{case.name}.json", fixture)
    if logits is not None:
        logits = logits[known_rows(case, len(tokens))]
        np.savez_compressed(FIXTURES / f"{case.name}.npz", tokens=tokens, logits=logits)


def main() -> None:
    """Make the fixtures of the cases named, or of all."""
    wanted = sys.argv[1:]
    for case in CASES:
        if not wanted or case.name in wanted:
            with tempfile.TemporaryDirectory() as folder:
                make(case, Path(folder))
            print(case.name)


if __name__ == "__main__":
    main()
