"""Run GGUF files in llama.cpp: the logits of given tokens, all in f32, one thread.

    python run_llamacpp.py FOLDER

For every NAME.npy (int32 tokens) in FOLDER it evaluates NAME.gguf and writes either
NAME.logits.npy [n, vocabulary] or, if llama.cpp refuses the file, its messages as
NAME.txt.  It runs in an interpreter that has llama-cpp-python and NumPy; that may be
another one than that of the tests, so nothing of quantkit is imported.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import llama_cpp
import numpy as np

CONTEXT = 256
ERROR_LEVEL = 4

messages: list[str] = []


def keep_errors(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    """What llama.cpp logs as an error."""
    if level == ERROR_LEVEL:
        messages.append(text.decode(errors="replace"))


def open_model(path: Path) -> llama_cpp.llama_model_p | None:
    """The model of a file, on the CPU, with its tensors as they are stored."""
    parameters = llama_cpp.llama_model_default_params()
    parameters.n_gpu_layers = 0
    parameters.use_extra_bufts = False
    return llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)


def open_context(model: llama_cpp.llama_model_p) -> llama_cpp.llama_context_p:
    """A context whose keys and values stay f32."""
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = CONTEXT
    parameters.n_threads = parameters.n_threads_batch = 1
    parameters.type_k = parameters.type_v = llama_cpp.GGML_TYPE_F32
    parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return llama_cpp.llama_init_from_model(model, parameters)


def logits_of(model: llama_cpp.llama_model_p, tokens: np.ndarray) -> np.ndarray | None:
    """The logits of every token, or None if there are none."""
    context = open_context(model)
    if context is None:
        return None
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i] = int(token)
        batch.pos[i] = i
        batch.n_seq_id[i] = 1
        batch.seq_id[i][0] = 0
        batch.logits[i] = 1
    status = llama_cpp.llama_decode(context, batch)
    llama_cpp.llama_batch_free(batch)
    logits = None
    if status == 0:
        n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        pointer = llama_cpp.llama_get_logits(context)
        logits = np.ctypeslib.as_array(pointer, (len(tokens), n_vocab)).copy()
    llama_cpp.llama_free(context)
    return logits


def main() -> None:
    """Evaluate every file of the folder."""
    folder = Path(sys.argv[1])
    callback = llama_cpp.llama_log_callback(keep_errors)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    for path in sorted(folder.glob("*.npy")):
        messages.clear()
        model = open_model(path.with_suffix(".gguf"))
        logits = None if model is None else logits_of(model, np.load(path))
        if logits is None:
            path.with_suffix(".txt").write_text("".join(messages))
        else:
            np.save(path.with_suffix(".logits.npy"), logits)
        if model is not None:
            llama_cpp.llama_model_free(model)


if __name__ == "__main__":
    main()
