"""A Llama of random weights with rows of 2048: no type falls back to another.

    pip install torch transformers
    python benchmarks/make_random_llama.py SMOLLM2_FOLDER OUT_FOLDER

4 layers of 2048 columns in BF16, the same in every run, with the tokenizer of SmolLM2.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path


def main() -> None:
    """Write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path, help="a checkpoint folder of SmolLM2")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    import torch  # late, so that --help needs neither
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=4,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=49152,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(args.out)
    for path in args.tokenizer.glob("token*.json"):
        shutil.copy(path, args.out)


if __name__ == "__main__":
    main()
