"""How much memory llama.cpp takes for a context, by its own account.

    python memory_llamacpp.py FOLDER CONTEXT

For every NAME.gguf in FOLDER it writes NAME.json: the MiB of each buffer beside the
weights, or a text if llama.cpp refuses the file.  Like run_llamacpp.py, it runs in an
interpreter that has llama-cpp-python, and imports nothing of quantkit.
"""

from __future__ import annotations

import ctypes
import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import llama_cpp

BUFFER = re.compile(r"\S+ +(?:DSV4 )?(\w.*?) buffer size = +([\d.]+) MiB")

messages: list[str] = []


def keep(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    """What llama.cpp logs."""
    messages.append(text.decode(errors="replace"))


def buffers_of(path: Path, n_ctx: int) -> dict[str, float] | str:
    """The MiB of each kind of buffer, or llama.cpp's last messages."""
    loading = llama_cpp.llama_model_default_params()
    loading.n_gpu_layers = 0
    loading.use_extra_bufts = False
    messages.clear()
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), loading)
    if model is None:
        return "".join(messages)[-200:]
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = n_ctx, 2048, 512
    parameters.n_threads = parameters.n_threads_batch = 1
    parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
    parameters.swa_full = False
    messages.clear()
    context = llama_cpp.llama_init_from_model(model, parameters)
    if context is None:
        return "".join(messages)[-200:]
    sizes: dict[str, float] = defaultdict(float)
    for name, size in BUFFER.findall("".join(messages)):
        sizes[name.split()[-1]] += float(size)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return dict(sizes)


def main(folder: Path, n_ctx: int) -> None:
    """Measure the files of a folder that were not measured yet, in order.

    A failed assertion of llama.cpp ends the process; the next one goes on.
    """
    for path in sorted(folder.glob("*.gguf")):
        if path.with_suffix(".json").exists():
            continue
        path.with_suffix(".json").write_text('"it aborts"', encoding="utf-8")
        found = buffers_of(path, n_ctx)
        path.with_suffix(".json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    logger = llama_cpp.llama_log_callback(keep)
    llama_cpp.llama_log_set(logger, ctypes.c_void_p(0))
    main(Path(sys.argv[1]), int(sys.argv[2]))
