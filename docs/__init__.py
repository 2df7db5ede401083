"""The documentation: Markdown files, and in `making` what builds the site of them."""
