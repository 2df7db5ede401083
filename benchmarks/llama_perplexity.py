"""KL divergences as llama-perplexity measures them."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Divergence", "Perplexity"]

CTX = 512


@dataclass(frozen=True)
class Divergence:
    """Mean KL divergence per token, in nats, and perplexity."""

    kld: float
    ppl: float


class Perplexity:
    """llama-perplexity with the logits of one base, which a folder keeps.

    Args:
        folder: that of llama.cpp's binaries.
        model: the base, a GGUF file.
        text: the text to evaluate on.
        work: a folder for the logits: 2 bytes per token and entry of the vocabulary.
        chunks: how many chunks of 512 tokens of the text.
        threads: threads of llama.cpp, which wait for each other in every product.
    """

    def __init__(
        self,
        folder: Path,
        model: Path,
        text: Path,
        work: Path,
        chunks: int,
        threads: int,
    ) -> None:
        self.binary = folder / "llama-perplexity"
        self.logits = work / f"{model.stem}-{chunks}.kld"
        self.size = ["-c", str(CTX), "--chunks", str(chunks), "-t", str(threads)]
        if not self.logits.exists():
            part = self.logits.with_suffix(".part")
            self._run("-m", str(model), "-f", str(text), *self._kept(part))
            part.rename(self.logits)

    def divergence(self, model: Path) -> Divergence:
        """The figures of a model against the base."""
        said = self._run("-m", str(model), *self._kept(self.logits), "--kl-divergence")
        return Divergence(_figure("Mean    KLD", said), _figure("Mean PPL(Q)", said))

    def _kept(self, path: Path) -> list[str]:
        return ["--kl-divergence-base", str(path)]

    def _run(self, *options: str) -> str:
        command = [str(self.binary), *options, *self.size]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {done.stderr[-1000:]}")
        return done.stdout + done.stderr


def _figure(name: str, said: str) -> float:
    """The number behind a name in llama-perplexity's report."""
    words = r"\s+".join(re.escape(word) for word in name.split())
    found = re.search(rf"^{words}\s*:\s*([-\d.]+)", said, re.MULTILINE)
    if found is None:
        sys.exit(f"llama-perplexity's report has no {name!r}")
    return float(found[1])
