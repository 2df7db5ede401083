"""From rows of bytes to files: parts, journals, resume."""
