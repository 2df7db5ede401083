"""How independent pieces of work are run: in parallel, with the results in order."""
