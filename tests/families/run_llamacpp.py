"""Run GGUF files in llama.cpp: the logits of given tokens, all in f32, one thread.

    python run_llamacpp.py FOLDER [--embeddings]

For every NAME.npy (int32 tokens) in FOLDER it evaluates NAME.gguf and writes either
NAME.logits.npy [n, vocabulary] or, if llama.cpp refuses the file, its messages as
NAME.txt.  With --embeddings it writes the hidden states, NAME.states.npy [n, width],
and the embedding of the text as the file says, NAME.pooled.npy.  It runs in an
interpreter that has llama-cpp-python and NumPy; that may be another one than that of
the tests, so nothing of quantkit is imported.
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


def open_context(
    model: llama_cpp.llama_model_p, pooling: int | None = None
) -> llama_cpp.llama_context_p:
    """A context whose keys and values stay f32; for embeddings, if there is a pooling.

    A pooling of -1 is that of the file.
    """
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = CONTEXT
    parameters.n_threads = parameters.n_threads_batch = 1
    parameters.type_k = parameters.type_v = llama_cpp.GGML_TYPE_F32
    parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if pooling is not None:
        parameters.embeddings, parameters.pooling_type = True, pooling
    return llama_cpp.llama_init_from_model(model, parameters)


def was_run(
    model: llama_cpp.llama_model_p,
    context: llama_cpp.llama_context_p,
    tokens: np.ndarray,
) -> bool:
    """Run a text, in T5's encoder if the model has one; whether that went well."""
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i] = int(token)
        batch.pos[i] = i
        batch.n_seq_id[i] = 1
        batch.seq_id[i][0] = 0
        batch.logits[i] = 1
    has_encoder = llama_cpp.llama_model_has_encoder(model)
    run = llama_cpp.llama_encode if has_encoder else llama_cpp.llama_decode
    status = run(context, batch)
    llama_cpp.llama_batch_free(batch)
    return bool(status == 0)


def logits_of(model: llama_cpp.llama_model_p, tokens: np.ndarray) -> np.ndarray | None:
    """The logits of every token, or None if there are none."""
    context = open_context(model)
    if context is None:
        return None
    logits = None
    if was_run(model, context, tokens):
        n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        pointer = llama_cpp.llama_get_logits(context)
        logits = np.ctypeslib.as_array(pointer, (len(tokens), n_vocab)).copy()
    llama_cpp.llama_free(context)
    return logits


def embeddings_of(
    model: llama_cpp.llama_model_p, tokens: np.ndarray, pooling: int
) -> np.ndarray | None:
    """The hidden states [n, width] if pooling is 0, else the embedding [width]."""
    context = open_context(model, pooling)
    if context is None:
        return None
    found = None
    if was_run(model, context, tokens):
        width = llama_cpp.llama_model_n_embd_out(model)
        if pooling:
            pointer = llama_cpp.llama_get_embeddings_seq(context, 0)
            found = np.ctypeslib.as_array(pointer, (width,)).copy()
        else:
            pointer = llama_cpp.llama_get_embeddings(context)
            found = np.ctypeslib.as_array(pointer, (len(tokens), width)).copy()
    llama_cpp.llama_free(context)
    return found


def write_results(model: llama_cpp.llama_model_p, path: Path, embeds: bool) -> bool:
    """Write what the model makes of the tokens of a file; whether it could."""
    tokens = np.load(path)
    if embeds:
        made = {
            name: embeddings_of(model, tokens, pooling)
            for name, pooling in (("states", 0), ("pooled", -1))
        }
    else:
        made = {"logits": logits_of(model, tokens)}
    for name, array in made.items():
        if array is None:
            return False
        np.save(path.with_suffix(f".{name}.npy"), array)
    return True


def main() -> None:
    """Evaluate every file of the folder."""
    folder, embeds = Path(sys.argv[1]), "--embeddings" in sys.argv
    callback = llama_cpp.llama_log_callback(keep_errors)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    for path in sorted(folder.glob("*.npy")):
        messages.clear()
        model = open_model(path.with_suffix(".gguf"))
        if model is None or not write_results(model, path, embeds):
            path.with_suffix(".txt").write_text("".join(messages))
        if model is not None:
            llama_cpp.llama_model_free(model)


if __name__ == "__main__":
    main()
