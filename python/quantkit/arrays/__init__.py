"""Arrays of weights: given by users, quantized, dequantized, checked."""
