"""Draw figures with Matplotlib, for `plot` methods and for reports."""
