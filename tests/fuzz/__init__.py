"""Fuzz every reader: from any input, only a `QuantkitError` may come out.

    python -m tests.fuzz gguf --seconds 60       # needs the package `atheris`
    python -m tests.fuzz gguf FILE               # runs one input, without atheris

`readers` has a harness for each reader, `driver` the rules that all obey, `choices` and
`damage` turn the fuzzer's bytes into changes of a valid model.  Inputs that once failed
are in `cases`; `test_cases.py` runs them, and `test_fuzzing.py` (slow) the fuzzer.
"""
