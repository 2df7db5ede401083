"""Programs that users run our files in, for the interop tests."""
