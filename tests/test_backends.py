"""Both halves of every backend on processors that lack features."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations

import pytest

from quantkit._native import ENVIRONMENT_VARIABLE, backends
from quantkit._native.backend import DISABLING_VARIABLE, cpu_features

from .variants import VARIANTS, without

LADDER = [
    frozenset(features)
    for n in (0, 1, 2)
    for features in combinations(cpu_features(), n)
]
"""Machines that lack one or two features, or none."""


@pytest.mark.parametrize("features", LADDER, ids=lambda f: "-".join(sorted(f)))
def test_a_backend_runs_on_its_own_forward_pass_or_not_at_all(
    features: frozenset[str],
) -> None:
    """A variant is named after its backend; what cannot run says for want of what."""
    with without(features) as found:
        for before, backend in zip(backends(), found, strict=True):
            assert backend.usable == (not backend.lacks)
            assert set(backend.lacks) <= features | set(before.lacks)
            if backend.usable:
                assert backend.ops is not None
                assert backend.ops.split("_")[0] == backend.name
            else:
                assert backend.ops is None
        assert found[-1].usable


@pytest.mark.parametrize(
    ("feature", "name", "ops"),
    [
        ("avx512vnni", "avx512", "avx512"),
        ("fma", "avx2", "avx2"),
        ("dotprod", "neon", "neon"),
    ],
)
def test_without_a_feature_the_plain_variant_runs(
    feature: str, name: str, ops: str
) -> None:
    """Not another backend's."""
    if name not in {b.name for b in backends() if b.usable}:
        pytest.skip(f"this machine cannot run {name}")
    with without(frozenset({feature})) as found:
        assert {b.name: b.ops for b in found}[name] == ops


def test_every_variant_of_a_usable_backend_is_tested() -> None:
    """Those that this machine's features allow."""
    names = [v.name for v in VARIANTS]
    assert len(set(names)) == len(names)
    assert {b.ops for b in backends() if b.usable} <= set(names)


def quantkit(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "quantkit", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_the_command_shows_both_halves() -> None:
    """Quantizers and forward pass of each; one of them is active."""
    done = quantkit("backends", QUANTKIT_CUDA_LIBRARY="none.so")
    header, *rows = done.stdout.partition("CUDA")[0].splitlines()
    assert header.split() == ["backend", "quantizers", "forward", "pass", "here"]
    assert [row.split()[0] for row in rows] == [b.name for b in backends()]
    for row, backend in zip(rows, backends(), strict=True):
        assert f"{backend.name}, {backend.lanes} lane" in row
        assert (backend.ops or "none") in row.split()
    assert done.stdout.count("active") == 1


def test_a_forced_backend_says_what_the_machine_lacks() -> None:
    """By name, and which backends there are instead."""
    first = backends()[0]
    if not first.usable or first.name not in ("avx512", "avx2"):
        pytest.skip("needs an x86-64 processor with AVX2")
    lacking = {"avx512": "avx512bw", "avx2": "avx2"}[first.name]
    done = quantkit(
        "backends", **{ENVIRONMENT_VARIABLE: first.name, DISABLING_VARIABLE: lacking}
    )
    assert done.returncode != 0
    assert f"lacks {lacking}" in done.stderr
    assert "scalar" in done.stderr


def test_an_unknown_feature_is_an_error() -> None:
    """A misspelt name would disable nothing."""
    done = quantkit("backends", **{DISABLING_VARIABLE: "avx512vni"})
    assert done.returncode != 0
    assert "avx512vni" in done.stderr
    assert "avx512vnni" in done.stderr
