"""Check, quantize and dequantize arrays of weights."""
