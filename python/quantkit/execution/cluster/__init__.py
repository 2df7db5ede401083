"""Run pieces of work on many machines: the workers are actors of a Ray cluster.

What decides which worker gets which piece (`running`, `board`) knows nothing of Ray;
`ray_team` and `joining` are the only modules that import it.
"""
