"""The list of families, from the families: python/quantkit/models/listing.py.

    python -m tests.families.make_listing

brings the entries up to date, and adds families that have none at the end.  Then
`ruff format` it.
"""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

import quantkit.models
from quantkit.models.family import Family
from quantkit.models.listing import LISTING, Listed

__all__ = ["PATH", "listing", "source_of"]

PATH = Path(quantkit.models.__file__).with_name("listing.py")
START = "LISTING: tuple[Listed, ...] = (\n"


def families() -> list[type[Family]]:
    """All classes of the package that can be made."""
    found = []
    for module in pkgutil.iter_modules(quantkit.models.__path__):
        for cls in vars(import_module(f"quantkit.models.{module.name}")).values():
            is_family = isinstance(cls, type) and issubclass(cls, Family)
            is_own = is_family and cls.__module__.endswith(f".{module.name}")
            if is_own and hasattr(cls, "name") and not inspect.isabstract(cls):
                found.append(cls)
    return found


def listing() -> list[Listed]:
    """The entries as they should be: in the present order, new ones last."""
    made = {
        (cls.__module__.rpartition(".")[2], cls.__name__): Listed(
            cls.__module__.rpartition(".")[2],
            cls.__name__,
            cls.name,
            cls.hf_classes,
            cls.predicts_text,
        )
        for cls in families()
    }
    known = [key for each in LISTING if (key := (each.module, each.cls)) in made]
    return [made[key] for key in dict.fromkeys([*known, *made])]


def source_of(entries: list[Listed]) -> str:
    """The module with these entries, to be formatted."""
    before, _, _ = PATH.read_text(encoding="utf-8").partition(START)
    rows = "".join(f"    {_row(each)},\n" for each in entries)
    return f"{before}{START}{rows})\n"


def _row(entry: Listed) -> str:
    text = ", ".join(map(_quoted, (entry.module, entry.cls, entry.name)))
    classes = ", ".join(map(_quoted, entry.hf_classes))
    comma = "," if len(entry.hf_classes) == 1 else ""
    last = "" if entry.predicts_text else ", predicts_text=False"
    return f"Listed({text}, ({classes}{comma}){last})"


def _quoted(text: str) -> str:
    return f'"{text}"'


if __name__ == "__main__":
    PATH.write_text(source_of(listing()), encoding="utf-8")
