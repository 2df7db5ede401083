"""The estimated cost of a calibration grows with what makes it take longer."""

from __future__ import annotations

from quantkit.calibrating.calibration import Calibration, Effort
from quantkit.calibrating.cost import CalibrationCost, describe_cost

from .test_calibrating_resume import model_and_types


def cost_of(
    n_tokens: int, effort: Effort = "fast", threads: int = 1
) -> CalibrationCost:
    """The cost for the demo model."""
    calibration = Calibration(["A text."], n_tokens, effort)
    return describe_cost(*model_and_types(), calibration, threads)


def test_cost() -> None:
    """The rates of the machine are measured once, so ratios are exact enough."""
    small = cost_of(4096)
    assert 0 < small.seconds < cost_of(65536).seconds < cost_of(65536, "best").seconds
    assert cost_of(4096, threads=2).seconds == small.seconds / 2
    assert small.memory_bytes < cost_of(65536).memory_bytes
    assert cost_of(4096).memory_bytes < cost_of(4096, "best").memory_bytes
    source, types = model_and_types()
    n_rows_bytes = sum(
        tensor.n_rows * types[name].row_bytes(tensor.n_cols)
        for name, tensor in source.tensors.items()
        if types[name].is_quantized
    )
    assert small.disk_bytes > n_rows_bytes


def test_a_model_that_is_not_quantized_costs_no_time() -> None:
    """Nothing is solved."""
    source, _ = model_and_types()
    types = {name: tensor.type for name, tensor in source.tensors.items()}
    assert describe_cost(source, types, Calibration(["A text."])).seconds == 0
