"""Run independent work items in parallel, with results in order.

Work is a module-level function and an item that describes its input.  Both can be
pickled, so another process gives the same result.  Small arrays are pickled with the
item; large objects are opened again in the other process (see `opened`).
"""
