"""llama-perplexity beside `quantkit ppl`: perplexity, divergence, 8-bit activations."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import quantkit as qk
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT

from .families.lettered import lettered_model, lettered_text
from .llamacpp_tools import EXACT, tool

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("llamacpp_tools")]

CHUNKS = 128
"""8-bit activations of two programs differ by chance, by 0.05 % over so many chunks."""

CLOSE = 2e-5
"""What the order of f32 sums may change in the logarithm of a perplexity."""
WITH_GELU = 2e-3
"""llama.cpp looks GELU up by its argument in half precision."""

FAMILIES = {
    "llama": CLOSE,
    "mixtral": CLOSE,
    "qwen2": CLOSE,
    "qwen3": CLOSE,
    "qwen3moe": CLOSE,
    "qwen3.5": CLOSE,
    "qwen3.5-moe": CLOSE,
    "qwen3next": CLOSE,
    "qwen4exp": CLOSE,
    "qwen4exp-published": CLOSE,
    "gemma2": WITH_GELU,
    "gemma3": WITH_GELU,
    "deepseek-v3": CLOSE,
    "glm-dsa": CLOSE,
    "glm4": CLOSE,
    "glm4moe": CLOSE,
    "glm5-next": CLOSE,
    "phi2": WITH_GELU,
    "olmo2": CLOSE,
    "command-r": CLOSE,
    "gpt2": WITH_GELU,
    "bloom": WITH_GELU,
}


def said(model: Path, *arguments: object, last: str) -> str:
    """What llama-perplexity says of a model, computing as exactly as it can.

    It sometimes ends before its log is written, so it is asked until it says `last`.
    """
    command = ("-m", model, "-t", 2, *EXACT, *arguments)
    outputs = (tool("llama-perplexity", *command) for _ in range(10))
    return next(output for output in outputs if last in output)


def number(output: str, label: str) -> float:
    """The number behind a label."""
    found = re.search(rf"{label}\s*[:=]\s*(-?[\d.]+)", output)
    assert found, output[-2000:]
    return float(found.group(1))


def their_perplexity(model: Path, text: Path, ctx: int, chunks: int) -> float:
    """Of chunks, as the tool gives it at the end."""
    where = ("-f", text, "-c", ctx, "-b", ctx, "--chunks", chunks)
    label = "Final estimate: PPL"
    return number(said(model, *where, last=label), label)


@pytest.mark.parametrize("name", FAMILIES)
def test_families_have_the_perplexity_of_llama_cpp(name: str, tmp_path: Path) -> None:
    """Models of random weights, in f32, on random letters."""
    model = lettered_model(name, tmp_path)
    text = lettered_text(tmp_path / "text.txt", 170)
    found = qk.perplexity(
        model, text, options=qk.TextOptions(ctx=32), activations="f32"
    ).ppl
    theirs = their_perplexity(model, text, 32, -1)
    assert found == pytest.approx(theirs, rel=FAMILIES[name])


@pytest.mark.parametrize("type", ["Q4_0", "Q2_K"])
def test_divergences_are_those_of_llama_cpp(type: str, tmp_path: Path) -> None:
    """Of dequantized weights, which both multiply in f32; its base has 16 bits."""
    base, quantized, other = (tmp_path / f"{n}.gguf" for n in ("base", "q", "f32"))
    qk.convert(DEMO_MODEL, base, outtype="f32")
    qk.quantize_file(base, quantized, type)
    qk.quantize_file(quantized, other, "F32", allow_requantize=True)
    text, kept = tmp_path / "text.txt", ("--kl-divergence-base", tmp_path / "base.kld")
    text.write_text(DEMO_TEXT.read_text(encoding="utf-8")[:20000], encoding="utf-8")
    said(base, "-f", text, "-c", 512, "-b", 512, "--chunks", 8, *kept, last="")
    size = ("-c", 512, "-b", 512)
    output = said(other, *size, *kept, "--kl-divergence", last="Same top p:")
    found = qk.compare(
        [base, other], text=text, options=qk.TextOptions(chunks=8)
    ).results[0]
    assert found.ppl == pytest.approx(number(output, r"Mean PPL\(Q\)"), rel=1e-4)
    assert found.kld_mean == pytest.approx(number(output, "Mean +KLD"), rel=2e-3)
    assert found.kld_median == pytest.approx(number(output, "Median +KLD"), rel=5e-3)
    assert found.kld_p99 == pytest.approx(number(output, r"99\.0% +KLD"), rel=5e-3)
    assert found.kld_max == pytest.approx(number(output, "Maximum KLD"), rel=5e-3)
    rms = number(output, "RMS Δp") / 100
    assert found.rms_dp == pytest.approx(rms, rel=2e-3)
    same = number(output, "Same top p") / 100
    assert found.same_top == pytest.approx(same, abs=1e-3)


def test_a_mix_loses_less_in_llama_cpp_too(tmp_path: Path) -> None:
    """Than the type of its size, on text that nothing was chosen by."""
    base, type, mix = (tmp_path / f"{n}.gguf" for n in ("base", "type", "mix"))
    qk.convert(DEMO_MODEL, base, outtype="f16")
    qk.quantize_file(base, type, "Q4_K_M")
    whole = DEMO_TEXT.read_text(encoding="utf-8")
    found = qk.choose(
        base,
        qk.Budget(max_size=type.stat().st_size),
        ["Q4_K_M", "Q5_K_M", "IQ4_XS"],
        text=whole[:40000],
        options=qk.TextOptions(chunks=16),
        mix=True,
    ).mix
    assert found is not None
    qk.quantize_file(base, mix, found.recipe, overrides=found.overrides)
    text, kept = tmp_path / "text.txt", ("--kl-divergence-base", tmp_path / "base.kld")
    text.write_text(whole[-30000:], encoding="utf-8")
    size = ("-c", 512, "-b", 512)
    said(base, "-f", text, *size, "--chunks", 8, *kept, last="")
    losses = [
        number(
            said(file, *size, *kept, "--kl-divergence", last="Same top p:"),
            "Mean +KLD",
        )
        for file in (type, mix)
    ]
    assert losses[1] < 0.8 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("type", ["Q8_0", "Q4_0", "Q4_K_M", "Q2_K", "IQ4_XS"])
def test_eight_bits_cost_what_they_cost_llama_cpp(type: str) -> None:
    """SmolLM2 on wikitext-2, with 8-bit activations: within 0.2 %."""
    folder, text = (
        os.environ.get(f"QUANTKIT_{k}") for k in ("LLAMACPP_QUANTS", "WIKITEXT")
    )
    if not folder or not text:
        pytest.skip("QUANTKIT_LLAMACPP_QUANTS and QUANTKIT_WIKITEXT are not set")
    model = Path(folder, f"{type}.gguf")
    theirs = their_perplexity(model, Path(text), 512, CHUNKS)
    found = qk.perplexity(
        model, Path(text), options=qk.TextOptions(chunks=CHUNKS), activations="q8"
    ).ppl
    assert found == pytest.approx(theirs, rel=2e-3)
