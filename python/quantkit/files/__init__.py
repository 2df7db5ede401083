"""File operations without knowledge of models: writing, locks, mapping, hashes."""
