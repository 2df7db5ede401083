"""A Qwen3.5 of random weights with rows of 2048: three delta rules for each attention.

    pip install torch transformers
    python benchmarks/make_random_hybrid.py SMOLLM2_FOLDER OUT_FOLDER [--layers 8]

The layers have the sizes of Qwen3.5 2B in BF16, the same in every run.  The tokenizer
is SmolLM2's, so the vocabulary has 49152 tokens instead of 248320, and the output head
is a fifth of the real one's.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path


def main() -> None:
    """Write the checkpoint."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tokenizer", type=Path, help="a checkpoint folder of SmolLM2")
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=8)
    args = parser.parse_args()
    import torch  # late, so that --help needs neither
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    torch.manual_seed(0)
    config = Qwen3_5TextConfig(
        hidden_size=2048,
        intermediate_size=6144,
        num_hidden_layers=args.layers,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=256,
        linear_num_key_heads=16,
        linear_num_value_heads=16,
        linear_key_head_dim=128,
        linear_value_head_dim=128,
        linear_conv_kernel_dim=4,
        vocab_size=49152,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    config.architectures = ["Qwen3_5ForCausalLM"]
    Qwen3_5ForCausalLM(config).to(torch.bfloat16).save_pretrained(args.out)
    for path in args.tokenizer.glob("token*.json"):
        shutil.copy(path, args.out)


if __name__ == "__main__":
    main()
