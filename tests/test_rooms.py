"""Rooms import what docs/design.md allows, without cycles."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import quantkit

PACKAGE = Path(quantkit.__file__).parent
DESIGN = Path(__file__).parents[1] / "docs" / "design.md"
ROOT = "root"


def module_names() -> dict[str, Path]:
    """Every module by its name without `quantkit.`; the package itself is "root"."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(p for p in parts if p != "__init__") or ROOT] = path
    return found


MODULES = module_names()


def table() -> dict[str, set[str]]:
    """What each room may import, by the table in docs/design.md."""
    row = re.compile(r"^\| `?([\w/]+)`? \| [^|]+ \|([^|]*)\|$", re.MULTILINE)
    return {
        room: set(re.findall(r"`([\w/]+)`", allowed))
        for room, allowed in row.findall(DESIGN.read_text())
        if room != "room"
    }


ALLOWED = table()


def room_of(module: str) -> str:
    """The room that a module is in: its folder, or the root."""
    path = MODULES[module].parent.relative_to(PACKAGE).as_posix()
    return ROOT if path == "." else path


@cache
def parsed(module: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(MODULES[module].read_text())


@cache
def imports_of(module: str, *, at_once: bool = False) -> frozenset[str]:
    """The modules of the package that a module imports.

    Args:
        module: its name.
        at_once: only those that are imported when the module is.
    """
    path = MODULES[module]
    found = set()
    package = [] if module == ROOT else module.split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in walk(parsed(module), at_once):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package[: len(package) - node.level + 1]
            base = [*above, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                names = ".".join([*base, alias.name]), ".".join(base) or ROOT
                found.update([n for n in names if n in MODULES][:1])  # none of _core
    return frozenset(found)


def walk(tree: ast.AST, at_once: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        is_later = isinstance(node, ast.FunctionDef | ast.If)
        if not (at_once and is_later):
            yield node
            yield from walk(node, at_once)


def test_the_table_has_every_room() -> None:
    """And no room that is gone."""
    assert ALLOWED.keys() == {room_of(module) for module in MODULES}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_import_what_their_room_may(module: str) -> None:
    """Others' names, the root's modules, and their own room."""
    own = room_of(module)
    rooms = {room_of(other) for other in imports_of(module) if other != ROOT}
    if own == ROOT and module in (ROOT, "__main__"):
        return  # which offer what all rooms have
    assert rooms - {own, ROOT} <= ALLOWED[own]


def test_rooms_stand_on_those_above_them_in_the_table() -> None:
    """So that no circle can be drawn; prequantized/ is a part of checkpoint/."""
    seen = {ROOT, "_native"}
    for room, allowed in ALLOWED.items():
        if room not in ("_native", "checkpoint", ROOT):
            assert allowed <= seen
        seen.add(room)


def test_modules_do_not_import_in_circles() -> None:
    """A circle raises, and the error names its modules."""
    graph = {module: imports_of(module, at_once=True) for module in MODULES}
    TopologicalSorter(graph).prepare()


def test_no_module_has_the_name_of_what_its_package_offers() -> None:
    """`import quantkit.importance.statistics` must find a module, not a function."""
    for module, path in MODULES.items():
        if path.name == "__init__.py":
            name = "quantkit" if module == ROOT else f"quantkit.{module}"
            package = importlib.import_module(name)
            inside = {found.name for found in pkgutil.iter_modules([str(path.parent)])}
            offered = getattr(package, "__all__", ())
            clashes = inside & set(offered)
            assert not {n for n in clashes if not inspect.ismodule(vars(package)[n])}


@pytest.mark.parametrize(
    "module", sorted(m for m in MODULES if not m.startswith(("cli", "__main__")))
)
def test_only_the_command_line_prints(module: str) -> None:
    """The library reports by results, progress and logging."""
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Call):
            assert not (isinstance(node.func, ast.Name) and node.func.id == "print")
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [a.name for a in node.names]
            roots = {
                (n or "").split(".")[0] for n in (*named, vars(node).get("module"))
            }
            assert not roots & {"typer", "click", "rich"}
