"""Calibrated rounding: round weights so that the outputs of their matrices move least.

The inputs of each matrix are summed over a calibration text; the solver of the C core
then chooses scales and codes that keep the outputs for these inputs.
"""
