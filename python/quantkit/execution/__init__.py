"""How independent pieces of work are run: in parallel, with the results in order.

A piece of work is a named function and an item that describes what it works on.  Both
can be pickled, so that another process can do the work by itself and give the same
result: arrays go with the item, and what is too large to go is opened there again (see
`opened`).
"""
