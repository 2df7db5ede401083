"""Write tests/fixtures/projectors/: the vision encoders that llama.cpp makes.

Needs torch, transformers and llama.cpp's source (see families/reference.py):

    QUANTKIT_LLAMACPP_SOURCE=... python -m tests.projectors.make_fixtures [CASE ...]
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from ..families.reference import describe_gguf, llamacpp_projector
from .all_cases import CASES
from .cases import ProjectorCase
from .stored import OUTTYPES, checkpoint_of, shortened, store

__all__ = ["made"]


def made(case: ProjectorCase, folder: Path) -> dict[str, Any]:
    """The fixture of one case."""
    config, shapes = case.config, dict(case.shapes)
    if case.hf_class is not None:
        config, shapes = transformers_shapes(case.hf_class, case.config, folder / "hf")
        config = case.config_of(config)
        for part in case.left_out:
            shapes = {name: shape for name, shape in shapes.items() if part not in name}
    checkpoint = checkpoint_of(case, config, shapes, folder)
    files = {
        outtype: describe_gguf(
            llamacpp_projector(
                *(checkpoint, folder / f"{outtype}.gguf", outtype),
                asserts=not case.is_any_size,
            )
        )
        for outtype in OUTTYPES
    }
    return {
        "config": config,
        "shapes": {name: list(shape) for name, shape in shapes.items()},
        "metadata": files["f32"]["metadata"],
        "tensors": {
            kind: shortened(case, kind, file["tensors"]) for kind, file in files.items()
        },
    }


def transformers_shapes(
    hf_class: str, given: dict[str, Any], folder: Path
) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """config.json and the tensors' shapes, as transformers writes them."""
    import transformers

    cls = getattr(transformers, hf_class)
    config = cls.config_class(**given)
    config.architectures = [hf_class]
    cls(config).float().save_pretrained(folder)
    shapes = {
        name: array.shape
        for path in sorted(folder.glob("*.safetensors"))
        for name, array in load_file(path).items()
    }
    return json.loads((folder / "config.json").read_text()), shapes


def main() -> None:
    """Make the fixtures of the cases named, or of all."""
    wanted = sys.argv[1:]
    for case in CASES:
        if not wanted or case.name in wanted:
            with tempfile.TemporaryDirectory() as folder:
                store(case, made(case, Path(folder)))
            print(case.name)


if __name__ == "__main__":
    main()
