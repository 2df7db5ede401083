"""How to run a file in llama.cpp, Ollama and LM Studio."""

from __future__ import annotations

import shlex

from ..gguf.keys import text_of
from .card_files import Opened
from .making import as_argument, fenced
from .ollama import ollama_name

__all__ = ["running_lines"]


def running_lines(
    file: Opened, projector: Opened | None, repo: str | None, *, by_type: bool = True
) -> list[str]:
    """The section as lines of Markdown.

    Args:
        file: the file that the commands run.
        projector: what encodes images or sounds for it.
        repo: "org/name" of the files on the Hub; None: the commands name local files.
        by_type: the type names the file, because no other one has it.
    """
    name, kind = file.file.name, file.file.type
    own, tag = ollama_name(name), kind
    hub = ["-hf", f"{repo}:{kind}"]
    if not by_type or kind.lower() not in name.lower():
        tag, hub = name, ["-hf", str(repo), "-hff", name]
    name = as_argument(name)
    server = ["llama-server", *(hub if repo else ["-m", name])]
    if projector is not None and repo is None:
        server += ["--mmproj", as_argument(projector.file.name)]
    arch = text_of(file.metadata, "general.architecture")
    if f"{arch}.pooling_type" in file.metadata:
        server.append("--embeddings")
    ollama = [
        ["quantkit", "modelfile", name, "-o", "Modelfile"],
        ["ollama", "create", own, "-f", "Modelfile"],
        ["ollama", "run", own],
    ]
    studio = ["lms", "import", name]
    if repo is not None:
        ollama = [["ollama", "run", f"hf.co/{repo}:{tag}"]]
        studio = ["lms", "get", f"https://huggingface.co/{repo}"]
    return [
        "llama.cpp, with a page at http://localhost:8080:",
        "",
        *fenced([shlex.join(server)]),
        "",
        "Ollama:",
        "",
        *fenced([shlex.join(words) for words in ollama]),
        "",
        "LM Studio:",
        "",
        *fenced([shlex.join(studio)]),
    ]
