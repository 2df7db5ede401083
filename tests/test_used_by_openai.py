"""Our files behind llama-cpp-python's server, asked by the `openai` client."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from .users.made_files import (
    MESSAGES,
    N_NEW,
    PROMPT,
    Made,
    greedy,
    interpreter,
    make_files,
)

pytestmark = pytest.mark.interop

CLIENT = Path(__file__).parent / "users" / "openai_client.py"
EXAMPLE = Path(__file__).parents[1] / "examples" / "langchain_local.py"
NAMES = ("IQ4_XS", "Q4_0-calibrated", "Q4_K_M")


@pytest.fixture(scope="module")
def python() -> str:
    modules = ("llama_cpp.server.app", "openai")
    return interpreter("QUANTKIT_OPENAI_PYTHON", *modules)


@pytest.fixture(scope="module")
def made(python: str, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_files(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def server(
    made: Made, python: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a server that has all files in its config."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = {"n_threads": 1, "n_threads_batch": 1, "n_ctx": 512}
    models = [
        {"model": str(made.files[name]), "model_alias": name, **threads}
        for name in NAMES
    ]
    folder = tmp_path_factory.mktemp("server")
    config = folder / "config.json"
    config.write_text(json.dumps({"host": "127.0.0.1", "port": port, "models": models}))
    address = f"http://127.0.0.1:{port}/v1"
    command = [python, "-m", "llama_cpp.server", "--config_file", str(config)]
    with open(folder / "log", "w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            while not answers(f"{address}/models"):
                log.seek(0)
                assert process.poll() is None, log.read()
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            process.wait()


def answers(address: str) -> bool:
    """Whether a server is there yet."""
    try:
        with urlopen(address) as response:
            return bool(response.status == 200)
    except URLError:
        return False


@pytest.fixture(scope="module")
def found(
    server: str, python: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the client gets; see `openai_client`."""
    path = tmp_path_factory.mktemp("asked") / "asked.json"
    path.write_text(json.dumps({"prompt": PROMPT, "messages": MESSAGES, "n": N_NEW}))
    command = [python, str(CLIENT), server, str(path)]
    answer: dict[str, Any] = json.loads(subprocess.check_output(command, text=True))
    return answer


def test_all_models_of_the_config_are_listed(found: dict[str, Any]) -> None:
    """By their names there."""
    assert found["models"] == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_completions_and_chats_are_those_of_llamacpp(
    name: str, found: dict[str, Any], made: Made, python: str, tmp_path: Path
) -> None:
    """From our tokens and our rendering of the template; streamed and whole."""
    path, answer = made.files[name], found["answers"][name]
    asked = [(path, PROMPT, made.prompt), (path, made.rendered, made.chat)]
    completion, chat = greedy(python, asked, tmp_path)
    assert answer["completion"] == completion["text"]
    assert answer["streamed_completion"] == completion["text"]
    assert answer["chat"] == chat["text"]
    assert answer["streamed_chat"] == chat["text"]
    assert answer["pieces"] > 1
    assert answer["prompt_tokens"] == [len(made.prompt), len(made.chat)]


def test_the_example_talks_to_the_server(server: str) -> None:
    """LangChain's model: a question, and a stream of it."""
    python = interpreter("QUANTKIT_OPENAI_PYTHON", "langchain_openai")
    command = [python, str(EXAMPLE), "Tell me of the sea.", "--server", server]
    done = subprocess.run(
        [*command, "--model", "Q4_K_M"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
