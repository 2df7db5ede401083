"""`python -m quantkit` is the command `quantkit`."""

from .cli.main import main

if __name__ == "__main__":
    main()
