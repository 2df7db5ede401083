"""From rows of weights to the bytes of a type."""
