"""Whether llama.cpp loads an encoder beside a text model; runs with llama-cpp-python.

    python load_llamacpp.py MMPROJ.gguf TEXT.gguf

prints whether the encoder sees and whether it hears, or fails.
"""

from __future__ import annotations

import sys

import llama_cpp
from llama_cpp import mtmd_cpp


def main(encoder: str, text: str) -> None:
    """Load both."""
    model = llama_cpp.llama_model_load_from_file(
        text.encode(), llama_cpp.llama_model_default_params()
    )
    params = mtmd_cpp.mtmd_context_params_default()
    params.use_gpu = params.warmup = False
    context = mtmd_cpp.mtmd_init_from_file(encoder.encode(), model, params)
    if not context:
        raise SystemExit("llama.cpp does not load it")
    sees = mtmd_cpp.mtmd_support_vision(context)
    print(sees, mtmd_cpp.mtmd_support_audio(context))


if __name__ == "__main__":
    main(*sys.argv[1:])
