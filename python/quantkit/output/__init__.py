"""Write model files: split files, journals, resuming stopped runs."""
