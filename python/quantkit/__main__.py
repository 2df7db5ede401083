"""`python -m quantkit` is the command `quantkit`."""

from .cli import main

main()
