"""A model that runs in memory."""
