"""AArch64 gives the bytes of x86: its builds run under an emulator.

Needs aarch64-linux-gnu-gcc and qemu-aarch64 (Debian: gcc-aarch64-linux-gnu, qemu-user).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from quantkit._native import (
    Function,
    Precision,
    activate,
    backends,
    empty_plan,
)
from quantkit.types import QuantType

from .conftest import NATIVE_TYPES
from .native_build import (
    WARNINGS,
    Build,
    all_wrong,
    build,
    load,
    needs,
    run,
    wrong_golden,
    wrong_rows,
)
from .test_golden import digest
from .test_lanes import (
    ELEMENTWISE,
    check_memory_ops,
    edge_operands,
    numbers_equal,
    padded,
    run_on_all,
)
from .test_matmul import ROUNDING, make_case
from .test_recurrent import (
    between,
    delta_formula,
    delta_inputs,
    distance,
    normal,
    scan_formula,
    scan_inputs,
    wkv7_formula,
    wkv7_inputs,
)
from .test_solver import TYPES as SOLVED
from .test_solver import (
    committed_hashes,
    fixed_factor,
    fixed_order,
    fixed_weights,
)

pytestmark = [pytest.mark.cross, pytest.mark.slow]

COMPILER = "aarch64-linux-gnu-gcc"
EMULATOR = "qemu-aarch64"
BACKENDS = ["neon", "scalar"]
# Scalar is the same C as on x86, and slow under emulation.
SCALAR_IS_SLOW = ["neon", pytest.param("scalar", marks=pytest.mark.slow)]
FUSED = r"\bf(?:n?m(?:add|sub)|ml[as])\b"


@pytest.fixture(scope="module")
def aarch64(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The driver for AArch64, compiled without a warning."""
    needs(COMPILER, EMULATOR)
    flags = ["-O2", "-static", *WARNINGS, "-Werror"]
    return build(tmp_path_factory.mktemp("cross"), COMPILER, flags, "aarch64", EMULATOR)


def test_every_backend_is_tested(aarch64: Build) -> None:
    """What the machine has is what the tests below run."""
    assert list(aarch64.lanes) == BACKENDS


@pytest.mark.parametrize("name", SCALAR_IS_SLOW)
@pytest.mark.parametrize("type", NATIVE_TYPES, ids=lambda t: t.name)
def test_hashes_are_the_committed_ones(
    aarch64: Build, name: str, type: QuantType
) -> None:
    """Quantized without and with importance, and dequantized."""
    assert wrong_golden(aarch64, name, type) == []


@pytest.mark.parametrize("name", SCALAR_IS_SLOW)
@pytest.mark.parametrize("type", NATIVE_TYPES, ids=lambda t: t.name)
def test_adversarial_rows_equal_this_machine(
    aarch64: Build, name: str, type: QuantType
) -> None:
    """Also where scales are infinite, or NaN, whose sign is the machine's."""
    assert wrong_rows(aarch64, name, type) == []


@pytest.mark.parametrize("type", SOLVED, ids=lambda t: t.name)
def test_calibrated_rows_have_the_committed_hashes(
    aarch64: Build, type: QuantType
) -> None:
    """From the factor of H to the bytes and the errors."""
    plan = empty_plan(type, fixed_order(type))
    orders = plan.unit_order, plan.group_order
    found = aarch64.solve("neon", type, fixed_factor(), fixed_weights(), *orders)
    assert digest(found) == committed_hashes()[type.name]


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_op_equals_the_scalar_definition(aarch64: Build, op: str) -> None:
    """NEON's ops agree with this machine's scalar ones on every pair of edge values."""
    lanes = aarch64.lanes["neon"]
    operands = edge_operands(op)
    n = len(operands[0])
    inputs = np.zeros((3, -(-n // lanes), lanes * lanes), np.int32)
    for i, values in enumerate(operands):
        inputs[i, :, :lanes] = padded(values, inputs.shape[1] * lanes).reshape(
            -1, lanes
        )
    found = aarch64.op("neon", op, *inputs)[:, :lanes].ravel()[:n]
    assert numbers_equal(op, found, run_on_all(backends()[-1], op, *operands))


@pytest.mark.parametrize("name", BACKENDS)
def test_memory_ops(aarch64: Build, name: str) -> None:
    """Loads, stores, lookups, constants and the transpose."""
    lanes = aarch64.lanes[name]

    def run_one(op: str, *inputs: np.ndarray) -> np.ndarray:
        operands = [padded(i, lanes * lanes)[None] for i in inputs]
        return aarch64.op(name, op, *operands)[0]

    check_memory_ops(run_one, lanes)


CPUS = {"max": "neon_dotprod", "cortex-a72": "neon"}
"""Processors of the emulator, and the variant of the forward pass that each runs."""


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("precision", Precision, ids=lambda p: p.name)
def test_matrix_products_equal_this_machine(
    aarch64: Build, precision: Precision, cpu: str
) -> None:
    """To the rounding of f32 sums, with the 8-bit dot product and without."""
    command = (EMULATOR, "-cpu", cpu, aarch64.command[-1])
    of_cpu = load(aarch64.folder, *command)
    assert of_cpu.ops["neon"] == CPUS[cpu]
    for type in NATIVE_TYPES:
        case = make_case(type, (7, 21, 3))
        expected = case.product(backends()[-1], precision)
        y = of_cpu.matmul("neon", case.x, case.data, type, precision)
        assert (np.abs(y - expected) <= ROUNDING * case.magnitude).all()


@pytest.mark.parametrize("function", Function, ids=lambda f: f.name)
def test_functions_equal_this_machine(aarch64: Build, function: Function) -> None:
    """Within a few units of the last place, from the smallest to the largest float."""
    sizes = np.geomspace(1e-30, 80, 2003, dtype=np.float32)
    x = np.concatenate(
        [-sizes, sizes, np.array([0, -np.inf, np.inf, np.nan], np.float32)]
    )
    expected = np.empty_like(x)
    activate(function, x, None, expected, backends()[-1])
    got = aarch64.layer("neon", "activate", x, int(function), len(x))
    assert np.allclose(got, expected, rtol=2e-6, atol=1e-6, equal_nan=True)
    tail = aarch64.layer("neon", "activate", x[-7:], int(function), 7)
    assert np.array_equal(tail, got[-7:], equal_nan=True)


@pytest.mark.parametrize("width", [1, 3, 5, 577])
def test_norms_and_likelihoods_are_the_formulas(aarch64: Build, width: int) -> None:
    """Rows that are no whole number of vectors too."""
    x = np.random.default_rng(0).standard_normal((6, width)).astype(np.float32)
    wide = x.astype(np.float64)
    for centered in (0, 1):
        less = wide - wide.mean(-1, keepdims=True) * centered
        expected = less / np.sqrt(np.square(less).mean(-1, keepdims=True) + 1e-5)
        got = aarch64.layer("neon", "norm", x, centered, *x.shape).reshape(x.shape)
        assert np.allclose(got, expected, rtol=1e-6, atol=1e-12)
    expected = np.log(np.exp(wide).sum(-1)) - wide[:, 0]
    got = aarch64.layer("neon", "likelihood", x, *x.shape)
    assert np.allclose(got, expected, rtol=2e-7, atol=1e-7)


def joined(*arrays: np.ndarray) -> np.ndarray:
    return np.concatenate([each.ravel() for each in arrays])


@pytest.mark.parametrize("name", BACKENDS)
def test_recurrent_layers_are_the_formulas(aarch64: Build, name: str) -> None:
    """Decays of heads and of components, scans, convolutions."""
    for decays in (1, 20):
        decay = between(-2, 0, 70, 6, decays)
        inputs = delta_inputs(70, 6, 2, 20, 36, decay)[:5]
        sizes = (70, 6, 2, 20, 36, decays)
        got = aarch64.layer(name, "recur", joined(*inputs), *sizes)
        assert distance(got.reshape(70, 6, 36), delta_formula(*inputs, 0.3)) < 1e-6
    scanned = scan_inputs(70, 77, 16)
    got = aarch64.layer(name, "scan", joined(*scanned), 70, 77, 16)
    assert distance(got.reshape(70, 77), scan_formula(*scanned)) < 1e-6
    mixed = wkv7_inputs(70, 3, 20, 36)
    got = aarch64.layer(name, "wkv7", joined(*mixed), 70, 3, 20, 36)
    assert distance(got.reshape(70, 3, 36), wkv7_formula(*mixed)) < 1e-6
    x, weight, bias = (normal(*shape) for shape in ((9, 37), (4, 37), (37,)))
    got = aarch64.layer(name, "convolve", joined(x, weight, bias), 9, 37, 4)
    padded_x = np.concatenate([np.zeros((3, 37)), x.astype(np.float64)])
    expected = bias + sum(padded_x[t : t + 9] * weight[t] for t in range(4))
    assert distance(got.reshape(9, 37), expected) < 1e-6


def test_nothing_is_fused(aarch64: Build) -> None:
    """The compiler made no multiply-add of a multiplication and an addition."""
    objdump = "aarch64-linux-gnu-objdump"
    needs(objdump)
    for name in BACKENDS:
        code = run([objdump, "-d", str(aarch64.folder / f"quantizers_{name}.o")])
        assert "fmul" in code
        assert [line for line in code.splitlines() if re.search(FUSED, line)] == []


@pytest.mark.slow
@pytest.mark.exhaustive
def test_clang_gives_the_same_bytes(tmp_path: Path) -> None:
    """The compiler of macOS, which contracts to multiply-adds unless told not to."""
    needs("clang", COMPILER, EMULATOR)
    flags = ["--target=aarch64-linux-gnu", "-O3", "-static", *WARNINGS, "-Werror"]
    clang = build(tmp_path, "clang", flags, "aarch64", EMULATOR, forward=False)
    assert all_wrong(clang, wrong_golden) == {}
    assert all_wrong(clang, wrong_rows) == {}
