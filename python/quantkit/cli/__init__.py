"""The command line: commands, options and tables in the terminal."""
