"""The families by module, so that a command imports only those of its model.

`python -m tests.families.make_listing` writes the entries; a test compares them with
the families.  Of families with the same class, the first that suits a config is its
family; of those with the same name, the first loads GGUF files.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LISTING", "Listed"]


@dataclass(frozen=True)
class Listed:
    """Where a family is defined, and what it is found by.

    Attributes:
        module: its module in this package.
        cls: its class there.
        name, hf_classes, predicts_text: as in `Family`.
    """

    module: str
    cls: str
    name: str
    hf_classes: tuple[str, ...]
    predicts_text: bool = True


LISTING: tuple[Listed, ...] = (
    Listed(
        "eagle3",
        "Eagle3",
        "eagle3",
        (
            "LlamaForCausalLMEagle3",
            "Eagle3DraftModel",
            "Eagle3LlamaForCausalLM",
            "Eagle3Speculator",
            "LlamaForCausalLM",
        ),
    ),
    Listed("dflash", "DFlash", "dflash", ("DFlashDraftModel", "DFlash2DraftModel")),
    Listed(
        "dflash",
        "DSpark",
        "dflash",
        (
            "DSparkDraftModel",
            "DSparkSpeculator",
            "Lfm2DSparkDraftModel",
            "LingDSparkModel",
            "Qwen3DSparkModel",
        ),
    ),
    Listed(
        "dflash_muse", "MuseGlimmerAssistant", "dflash", ("MuseGlimmerAssistantModel",)
    ),
    Listed("dflash_deepseek", "DeepseekV4DSpark", "dflash", ("DeepseekV4DSparkModel",)),
    Listed("dflash_gemma", "Gemma4DSpark", "dflash", ("Gemma4DSparkModel",)),
    Listed(
        "llama",
        "Llama",
        "llama",
        (
            "LlamaForCausalLM",
            "MistralForCausalLM",
            "LLaMAForCausalLM",
            "LlamaModel",
            "IQuestCoderForCausalLM",
        ),
    ),
    Listed("llama", "Mixtral", "llama", ("MixtralForCausalLM",)),
    Listed("llava", "Llava", "llama", ("LlavaForConditionalGeneration",)),
    Listed("llava", "Janus", "llama", ("JanusForConditionalGeneration",)),
    Listed("llava", "Sarashina2Vision", "llama", ("Sarashina2VisionForCausalLM",)),
    Listed("llava", "VLlama3", "llama", ("VLlama3ForCausalLM",)),
    Listed("llava", "Voxtral", "llama", ("VoxtralForConditionalGeneration",)),
    Listed(
        "llama4",
        "Llama4",
        "llama4",
        ("Llama4ForCausalLM", "Llama4ForConditionalGeneration"),
    ),
    Listed(
        "mistral3",
        "Mistral3",
        "mistral3",
        ("Mistral3ForConditionalGeneration", "Ministral3ForCausalLM"),
    ),
    Listed("mistral4", "Mistral4", "mistral4", ("Mistral3ForConditionalGeneration",)),
    Listed("qwen", "Qwen", "qwen", ("QWenLMHeadModel",)),
    Listed(
        "qwen",
        "Qwen2",
        "qwen2",
        (
            "Qwen2ForCausalLM",
            "Qwen2Model",
            "Qwen2AudioForConditionalGeneration",
            "AudioFlamingo3ForConditionalGeneration",
            "DotsOCRForCausalLM",
            "KORMoForCausalLM",
        ),
    ),
    Listed("qwen", "Qwen3", "qwen3", ("Qwen3ForCausalLM", "Qwen3Model")),
    Listed("qwen_moe", "Qwen2Moe", "qwen2moe", ("Qwen2MoeForCausalLM",)),
    Listed("qwen_moe", "Qwen3Moe", "qwen3moe", ("Qwen3MoeForCausalLM",)),
    Listed("qwen_next", "Qwen3Next", "qwen3next", ("Qwen3NextForCausalLM",)),
    Listed(
        "qwen_next",
        "Qwen35",
        "qwen35",
        ("Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"),
    ),
    Listed(
        "qwen_next",
        "Qwen35Moe",
        "qwen35moe",
        ("Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"),
    ),
    Listed(
        "qwen4",
        "Qwen4Exp",
        "qwen4exp",
        ("Qwen4ExpForCausalLM", "Qwen4ExpForConditionalGeneration"),
    ),
    Listed(
        "qwen_vl",
        "Qwen2VL",
        "qwen2vl",
        (
            "Qwen2VLForConditionalGeneration",
            "Qwen2VLModel",
            "Qwen2_5_VLForConditionalGeneration",
        ),
    ),
    Listed("qwen_vl", "Qwen2Omni", "qwen2vl", ("Qwen2_5OmniModel",)),
    Listed("qwen_vl", "Qwen3VL", "qwen3vl", ("Qwen3VLForConditionalGeneration",)),
    Listed(
        "qwen_vl", "Qwen3VLMoe", "qwen3vlmoe", ("Qwen3VLMoeForConditionalGeneration",)
    ),
    Listed(
        "qwen_vl",
        "Qwen3OmniMoe",
        "qwen3vlmoe",
        ("Qwen3OmniMoeForConditionalGeneration",),
    ),
    Listed("smollm3", "SmolLM3", "smollm3", ("SmolLM3ForCausalLM",)),
    Listed("arcee", "Arcee", "arcee", ("ArceeForCausalLM",)),
    Listed("granite", "Granite", "granite", ("GraniteForCausalLM",)),
    Listed(
        "granite_moe",
        "GraniteMoe",
        "granitemoe",
        ("GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"),
    ),
    Listed(
        "granite_moe",
        "GraniteHybrid",
        "granitehybrid",
        ("GraniteMoeHybridForCausalLM",),
    ),
    Listed("granite_moe", "Granite4", "granite", ("GraniteMoeHybridForCausalLM",)),
    Listed(
        "granite_moe", "Granite4Moe", "granitemoe", ("GraniteMoeHybridForCausalLM",)
    ),
    Listed("minicpm", "MiniCPM", "minicpm", ("MiniCPMForCausalLM",)),
    Listed("internlm2", "InternLM2", "internlm2", ("InternLM2ForCausalLM",)),
    Listed(
        "baichuan",
        "Baichuan",
        "baichuan",
        ("BaichuanForCausalLM", "BaiChuanForCausalLM"),
    ),
    Listed(
        "ernie4_5",
        "Ernie45",
        "ernie4_5",
        ("Ernie4_5ForCausalLM", "Ernie4_5_ForCausalLM"),
    ),
    Listed("ernie_moe", "Ernie45Moe", "ernie4_5-moe", ("Ernie4_5_MoeForCausalLM",)),
    Listed("exaone", "Exaone", "exaone", ("ExaoneForCausalLM",)),
    Listed("exaone4", "Exaone4", "exaone4", ("Exaone4ForCausalLM",)),
    Listed(
        "exaone_moe",
        "ExaoneMoe",
        "exaone-moe",
        ("ExaoneMoeForCausalLM", "ExaoneMoEForCausalLM"),
    ),
    Listed("hunyuan", "HunYuanDense", "hunyuan-dense", ("HunYuanDenseV1ForCausalLM",)),
    Listed("hunyuan_moe", "HunYuanMoe", "hunyuan-moe", ("HunYuanMoEV1ForCausalLM",)),
    Listed("gemma", "Gemma", "gemma", ("GemmaForCausalLM",)),
    Listed("gemma", "Gemma2", "gemma2", ("Gemma2ForCausalLM",)),
    Listed(
        "gemma",
        "Gemma3",
        "gemma3",
        ("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
    ),
    Listed(
        "gemma3n",
        "Gemma3n",
        "gemma3n",
        ("Gemma3nForCausalLM", "Gemma3nForConditionalGeneration"),
    ),
    Listed(
        "gemma4",
        "Gemma4",
        "gemma4",
        ("Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"),
    ),
    Listed(
        "gemma4", "Gemma4Unified", "gemma4", ("Gemma4UnifiedForConditionalGeneration",)
    ),
    Listed(
        "gemma4_assistant",
        "Gemma4Assistant",
        "gemma4-assistant",
        ("Gemma4AssistantForCausalLM", "Gemma4UnifiedAssistantForCausalLM"),
    ),
    Listed(
        "stablelm",
        "StableLm",
        "stablelm",
        (
            "StableLmForCausalLM",
            "StableLMEpochForCausalLM",
            "LlavaStableLMEpochForCausalLM",
        ),
    ),
    Listed("phi", "Phi", "phi2", ("PhiForCausalLM",)),
    Listed("phi", "Phi3", "phi3", ("Phi3ForCausalLM", "Phi4ForCausalLMV")),
    Listed("olmo", "Olmo", "olmo", ("OlmoForCausalLM", "OLMoForCausalLM")),
    Listed("olmo", "Olmo2", "olmo2", ("Olmo2ForCausalLM",)),
    Listed("olmo", "Olmo3", "olmo2", ("Olmo3ForCausalLM",)),
    Listed("olmoe", "Olmoe", "olmoe", ("OlmoeForCausalLM",)),
    Listed("seed_oss", "SeedOss", "seed_oss", ("SeedOssForCausalLM",)),
    Listed("glm", "Glm", "chatglm", ("GlmForCausalLM",)),
    Listed(
        "glm", "ChatGlm", "chatglm", ("ChatGLMModel", "ChatGLMForConditionalGeneration")
    ),
    Listed("glm", "Glm4", "glm4", ("Glm4ForCausalLM",)),
    Listed("glm", "Glm4v", "glm4", ("Glm4vForConditionalGeneration",)),
    Listed("glm", "GlmOcr", "glm4", ("GlmOcrForConditionalGeneration",)),
    Listed("glm_moe", "Glm4Moe", "glm4moe", ("Glm4MoeForCausalLM",)),
    Listed("glm_moe", "Glm4vMoe", "glm4moe", ("Glm4vMoeForConditionalGeneration",)),
    Listed("glm_moe", "SolarOpen", "glm4moe", ("SolarOpenForCausalLM",)),
    Listed("cohere", "Cohere", "command-r", ("CohereForCausalLM",)),
    Listed("cohere2", "Cohere2", "cohere2", ("Cohere2ForCausalLM",)),
    Listed("cohere2_moe", "Cohere2Moe", "cohere2moe", ("Cohere2MoeForCausalLM",)),
    Listed("gpt2", "GPT2", "gpt2", ("GPT2LMHeadModel",)),
    Listed("gpt_neox", "GPTNeoX", "gptneox", ("GPTNeoXForCausalLM",)),
    Listed("falcon", "Falcon", "falcon", ("FalconForCausalLM", "RWForCausalLM")),
    Listed("bloom", "Bloom", "bloom", ("BloomForCausalLM", "BloomModel")),
    Listed("mpt", "Mpt", "mpt", ("MPTForCausalLM", "MptForCausalLM")),
    Listed(
        "bert",
        "Bert",
        "bert",
        (
            "BertModel",
            "BertForMaskedLM",
            "BertForSequenceClassification",
            "CamembertModel",
        ),
        predicts_text=False,
    ),
    Listed(
        "bert",
        "DistilBert",
        "bert",
        (
            "DistilBertModel",
            "DistilBertForMaskedLM",
            "DistilBertForSequenceClassification",
        ),
        predicts_text=False,
    ),
    Listed(
        "bert",
        "Roberta",
        "bert",
        ("RobertaModel", "RobertaForSequenceClassification"),
        predicts_text=False,
    ),
    Listed(
        "bert",
        "XlmRoberta",
        "bert",
        ("XLMRobertaModel", "XLMRobertaForSequenceClassification"),
        predicts_text=False,
    ),
    Listed(
        "nomic_bert",
        "NomicBert",
        "nomic-bert",
        ("NomicBertModel",),
        predicts_text=False,
    ),
    Listed(
        "nomic_bert",
        "NomicBertMoe",
        "nomic-bert-moe",
        ("NomicBertModel",),
        predicts_text=False,
    ),
    Listed(
        "jina_bert",
        "JinaBert2",
        "jina-bert-v2",
        ("JinaBertModel", "JinaBertForMaskedLM"),
        predicts_text=False,
    ),
    Listed(
        "jina_bert",
        "JinaBert3",
        "jina-bert-v3",
        ("XLMRobertaModel", "XLMRobertaForSequenceClassification"),
        predicts_text=False,
    ),
    Listed(
        "neo_bert",
        "NeoBert",
        "neo-bert",
        ("NeoBERT", "NeoBERTLMHead", "NeoBERTForSequenceClassification"),
        predicts_text=False,
    ),
    Listed(
        "modern_bert",
        "ModernBert",
        "modern-bert",
        (
            "ModernBertModel",
            "ModernBertForMaskedLM",
            "ModernBertForSequenceClassification",
        ),
        predicts_text=False,
    ),
    Listed(
        "decision",
        "ModernBertDecision",
        "modern-bert",
        ("ModernBertDecisionModel",),
        predicts_text=False,
    ),
    Listed(
        "modern_bert",
        "EuroBert",
        "eurobert",
        ("EuroBertModel", "JinaEmbeddingsV5Model"),
        predicts_text=False,
    ),
    Listed(
        "gemma_embedding",
        "EmbeddingGemma",
        "gemma-embedding",
        ("Gemma3TextModel",),
        predicts_text=False,
    ),
    Listed(
        "t5",
        "T5",
        "t5",
        (
            "T5ForConditionalGeneration",
            "T5WithLMHeadModel",
            "MT5ForConditionalGeneration",
            "UMT5ForConditionalGeneration",
            "UMT5Model",
        ),
    ),
    Listed("t5", "T5Encoder", "t5encoder", ("T5EncoderModel",), predicts_text=False),
    Listed("starcoder2", "Starcoder2", "starcoder2", ("Starcoder2ForCausalLM",)),
    Listed("gpt_oss", "GptOss", "gpt-oss", ("GptOssForCausalLM",)),
    Listed("hy_v3", "HunYuan3", "hy_v3", ("HYV3ForCausalLM",)),
    Listed("hy_v4", "HYV4", "hy_v4", ("HYV4ForCausalLM",)),
    Listed("phimoe", "PhiMoe", "phimoe", ("PhiMoEForCausalLM",)),
    Listed("laguna", "Laguna", "laguna", ("LagunaForCausalLM",)),
    Listed("afmoe", "Afmoe", "afmoe", ("AfmoeForCausalLM",)),
    Listed("bailing_moe", "BailingMoe", "bailingmoe", ("BailingMoeForCausalLM",)),
    Listed("bailing_moe", "BailingMoe2", "bailingmoe2", ("BailingMoeV2ForCausalLM",)),
    Listed(
        "bailing_moe",
        "SarvamMoe",
        "bailingmoe2",
        ("SarvamMoEForCausalLM", "modeling_sarvam_moe.SarvamMoEForCausalLM"),
    ),
    Listed(
        "bailing_hybrid", "BailingMoe3", "bailingmoe3", ("BailingMoeV3ForCausalLM",)
    ),
    Listed(
        "bailing_hybrid",
        "BailingMoe3VL",
        "bailingmoe3",
        ("BailingMoeV3VLForConditionalGeneration",),
    ),
    Listed("dots1", "Dots1", "dots1", ("Dots1ForCausalLM",)),
    Listed(
        "dots3",
        "Dots3Note",
        "dots3note",
        (
            "Dots3NoteForCausalLM",
            "Dots3NoteForConditionalGeneration",
            "Dots3NoteTextForCausalLM",
        ),
    ),
    Listed("deepseek_v1", "DeepseekV1", "deepseek", ("DeepseekForCausalLM",)),
    Listed(
        "smallthinker", "SmallThinker", "smallthinker", ("SmallThinkerForCausalLM",)
    ),
    Listed("arctic", "Arctic", "arctic", ("ArcticForCausalLM",)),
    Listed("internlm3", "InternLM3", "llama", ("InternLM3ForCausalLM",)),
    Listed("xverse", "Xverse", "xverse", ("XverseForCausalLM",)),
    Listed("orion", "Orion", "orion", ("OrionForCausalLM",)),
    Listed("nemotron", "Nemotron", "nemotron", ("NemotronForCausalLM",)),
    Listed("starcoder", "StarCoder", "starcoder", ("GPTBigCodeForCausalLM",)),
    Listed(
        "kimi_linear",
        "KimiLinear",
        "kimi-linear",
        ("KimiLinearForCausalLM", "KimiLinearModel"),
    ),
    Listed("kimi_k3", "KimiK3", "kimi-k3", ("KimiK3ForConditionalGeneration",)),
    Listed("falcon_h1", "FalconH1", "falcon-h1", ("FalconH1ForCausalLM",)),
    Listed("jamba", "Jamba", "jamba", ("JambaForCausalLM",)),
    Listed("mamba", "Mamba", "mamba", ("MambaForCausalLM", "MambaLMHeadModel")),
    Listed("mamba", "FalconMamba", "mamba", ("FalconMambaForCausalLM",)),
    Listed("mamba", "Mamba2", "mamba2", ("Mamba2ForCausalLM",)),
    Listed("lfm2", "Lfm2", "lfm2", ("Lfm2ForCausalLM", "LFM2ForCausalLM")),
    Listed("lfm2", "Lfm2Moe", "lfm2moe", ("Lfm2MoeForCausalLM",)),
    Listed("nemotron_h", "NemotronH", "nemotron_h", ("NemotronHForCausalLM",)),
    Listed("nemotron_h", "NemotronHMoe", "nemotron_h_moe", ("NemotronHForCausalLM",)),
    Listed(
        "nemotron_puzzle",
        "NemotronHPuzzle",
        "nemotron_h_moe",
        ("NemotronHPuzzleForCausalLM",),
    ),
    Listed("mimo", "MiMoV2", "mimo2", ("MiMoV2FlashForCausalLM", "MiMoV2ForCausalLM")),
    Listed(
        "muse_glimmer",
        "MuseGlimmer",
        "muse-glimmer",
        ("MuseGlimmerForConditionalGeneration",),
    ),
    Listed(
        "minimax_text01",
        "MiniMaxText01",
        "minimax-01",
        ("MiniMaxText01ForCausalLM", "MiniMaxM1ForCausalLM"),
    ),
    Listed("minimax", "MiniMaxM2", "minimax-m2", ("MiniMaxM2ForCausalLM",)),
    Listed(
        "minimax_m3",
        "MiniMaxM3",
        "minimax-m3",
        (
            "MiniMaxM3SparseForCausalLM",
            "MiniMaxM3SparseForConditionalGeneration",
            "MiniMaxM3VLForCausalLM",
        ),
    ),
    Listed(
        "step",
        "Step35",
        "step35",
        ("Step3p5ForCausalLM", "Step3p7ForConditionalGeneration"),
    ),
    Listed("step", "StepVL", "qwen3", ("StepVLForConditionalGeneration",)),
    Listed("apertus", "Apertus", "apertus", ("ApertusForCausalLM",)),
    Listed(
        "grove",
        "GroveMoe",
        "grovemoe",
        ("GroveMoeForCausalLM", "modeling_grove_moe.GroveMoeForCausalLM"),
    ),
    Listed("grok", "Grok", "grok", ("Grok1ForCausalLM", "GrokForCausalLM")),
    Listed("dbrx", "Dbrx", "dbrx", ("DbrxForCausalLM",)),
    Listed("openelm", "OpenELM", "openelm", ("OpenELMForCausalLM",)),
    Listed("minicpm3", "MiniCPM3", "minicpm3", ("MiniCPM3ForCausalLM",)),
    Listed("plm", "Plm", "plm", ("PLMForCausalLM",)),
    Listed("bitnet", "BitNet", "bitnet", ("BitNetForCausalLM",)),
    Listed("bitnet", "LlamaBitNet", "bitnet", ("BitnetForCausalLM",)),
    Listed("codeshell", "CodeShell", "codeshell", ("CodeShellForCausalLM",)),
    Listed("refact", "Refact", "refact", ("GPTRefactForCausalLM",)),
    Listed("jais", "Jais", "jais", ("JAISLMHeadModel",)),
    Listed("talkie", "Talkie", "talkie", ("TalkieForCausalLM",)),
    Listed("spark2_5", "Spark25", "spark2_5", ("Spark2_5ForCausalLM",)),
    Listed("deepseek", "DeepseekV2", "deepseek2", ("DeepseekV2ForCausalLM",)),
    Listed(
        "deepseek",
        "DeepseekV3",
        "deepseek2",
        ("DeepseekV3ForCausalLM", "KimiK25ForConditionalGeneration"),
    ),
    Listed(
        "deepseek_ocr",
        "DeepseekOcr",
        "deepseek2-ocr",
        ("DeepseekOCRForCausalLM", "UnlimitedOCRForCausalLM"),
    ),
    Listed("youtu", "Youtu", "deepseek2", ("YoutuForCausalLM",)),
    Listed("youtu", "YoutuVL", "deepseek2", ("YoutuVLForConditionalGeneration",)),
    Listed("deepseek", "KimiVL", "deepseek2", ("KimiVLForConditionalGeneration",)),
    Listed("glm_latent", "Glm4MoeLite", "deepseek2", ("Glm4MoeLiteForCausalLM",)),
    Listed("glm_dsa", "GlmMoeDsa", "glm-dsa", ("GlmMoeDsaForCausalLM",)),
    Listed("glm5_next", "Glm5Next", "glm5-next", ("Glm5NextForConditionalGeneration",)),
    Listed("deepseek_v32", "DeepseekV32", "deepseek32", ("DeepseekV32ForCausalLM",)),
    Listed("deepseek_v4", "DeepseekV4", "deepseek4", ("DeepseekV4ForCausalLM",)),
    Listed("plamo", "Plamo", "plamo", ("PlamoForCausalLM",)),
    Listed(
        "plamo_hybrid", "Plamo2", "plamo2", ("Plamo2ForCausalLM", "PLaMo2ForCausalLM")
    ),
    Listed(
        "plamo_hybrid", "Plamo3", "plamo3", ("Plamo3ForCausalLM", "PLaMo3ForCausalLM")
    ),
    Listed("bamba", "Bamba", "granitehybrid", ("BambaForCausalLM",)),
    Listed(
        "granite_switch",
        "GraniteSwitch",
        "graniteswitch",
        ("GraniteSwitchForCausalLM",),
    ),
    Listed("granite_swa", "GraniteSwa", "granite_swa", ("GraniteSWAForCausalLM",)),
    Listed(
        "granite_swa", "GraniteMoeSwa", "granite_swa", ("GraniteMoeSWAForCausalLM",)
    ),
    Listed("rwkv6", "Rwkv6", "rwkv6", ("Rwkv6ForCausalLM",)),
    Listed("rwkv6", "Rwkv6Qwen2", "rwkv6qwen2", ("RWKV6Qwen2ForCausalLM",)),
    Listed("rwkv7", "Rwkv7", "rwkv7", ("Rwkv7ForCausalLM", "RWKV7ForCausalLM")),
    Listed("rwkv7", "Arwkv7", "arwkv7", ("RwkvHybridForCausalLM",)),
    Listed("diffusion", "Dream", "dream", ("DreamModel",)),
    Listed("diffusion", "Llada", "llada", ("LLaDAModelLM",)),
    Listed("diffusion", "LladaMoe", "llada-moe", ("LLaDAMoEModelLM", "LLaDAMoEModel")),
    Listed("diffusion", "Rnd1", "rnd1", ("RND1",)),
    Listed("jais2", "Jais2", "jais2", ("Jais2ForCausalLM",)),
    Listed(
        "llama_embed",
        "LlamaEmbed",
        "llama-embed",
        ("LlamaBidirectionalModel",),
        predicts_text=False,
    ),
    Listed("maincoder", "Maincoder", "maincoder", ("MaincoderForCausalLM",)),
    Listed("maple", "Maple", "maple", ("MapleForCausalLM",)),
    Listed("mellum", "Mellum", "mellum", ("MellumForCausalLM",)),
    Listed(
        "paddle_ocr", "PaddleOCR", "paddleocr", ("PaddleOCRVLForConditionalGeneration",)
    ),
    Listed("pangu", "PanguEmbedded", "pangu-embedded", ("PanguEmbeddedForCausalLM",)),
    Listed(
        "qwen_next", "MiniCPMV46", "qwen35", ("MiniCPMV4_6ForConditionalGeneration",)
    ),
    Listed("qwen_vl", "Qwen3ASR", "qwen3vl", ("Qwen3ASRForConditionalGeneration",)),
    Listed("exaone4_5", "Exaone45", "exaone4", ("Exaone4_5_ForConditionalGeneration",)),
    Listed(
        "hunyuan_vl", "HunYuanVL", "hunyuan_vl", ("HunYuanVLForConditionalGeneration",)
    ),
    Listed("deci", "Deci", "deci", ("DeciLMForCausalLM",)),
    Listed("nanbeige", "Nanbeige", "nanbeige", ("NanbeigeForCausalLM",)),
    Listed("cogvlm", "CogVlm", "cogvlm", ("CogVLMForCausalLM",)),
    Listed("lfm2_embedding", "Lfm2Embedding", "lfm2", ("Lfm2Model",)),
    Listed(
        "lfm2_embedding",
        "Lfm2Bidirectional",
        "lfm2",
        ("Lfm2BidirectionalModel", "Lfm2BidirectionalForMaskedLM"),
        predicts_text=False,
    ),
    Listed("hrm_text", "HrmText", "hrm_text", ("HrmTextForCausalLM",)),
    Listed(
        "chameleon",
        "Chameleon",
        "chameleon",
        ("ChameleonForConditionalGeneration", "ChameleonForCausalLM"),
    ),
    Listed("rugpt3xl", "RuGPT3XL", "gpt2", ("RuGPT3XLForCausalLM",)),
    Listed("lfm2_embedding", "Lfm25AudioTokenizer", "lfm2", ("Lfm25AudioTokenizer",)),
    Listed(
        "wavtokenizer", "WavTokenizerDecoder", "wavtokenizer-dec", ("WavTokenizerDec",)
    ),
    Listed("mistral_native", "MistralNative", "llama", ("MistralNative",)),
    Listed("mistral_native", "MistralNative3", "mistral3", ("MistralNative",)),
    Listed("mistral_native_moe", "MistralNativeMoe", "deepseek2", ("MistralNative",)),
)
