"""Ask a GGUF file by LangChain, through llama-cpp-python's OpenAI server.

    pip install 'llama-cpp-python[server]' langchain-openai
    python -m llama_cpp.server --model model-q4_k_m.gguf --model_alias mine
    python examples/langchain_local.py "What is a quantized model?" --model mine

Nothing leaves the machine: the key that the client asks for is not used.
"""

from __future__ import annotations

import argparse

from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI


def main() -> None:
    """Print the answer as it comes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("question")
    parser.add_argument("--server", default="http://localhost:8000/v1")
    parser.add_argument("--model", default="mine", help="model_alias of the server")
    args = parser.parse_args()
    model = ChatOpenAI(
        model=args.model,
        base_url=args.server,
        api_key="none",
        temperature=0,
        max_tokens=200,
    )
    prompt = ChatPromptTemplate.from_messages(
        [("system", "You answer in one paragraph."), ("user", "{question}")]
    )
    for piece in (prompt | model).stream({"question": args.question}):
        print(piece.content, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
