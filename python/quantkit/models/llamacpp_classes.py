"""The text classes that llama.cpp's converter registers, by GGUF architecture.

Source: `TEXT_MODEL_MAP` of conversion/__init__.py in build 11434, 276 classes.  A class
that quantkit does not convert is refused with what is known of it.
"""

from __future__ import annotations

__all__ = ["ARCHITECTURES", "BY_TEXT_MODEL", "REFUSED", "architecture_of"]

ARCHITECTURES: dict[str, tuple[str, ...]] = {
    "afmoe": ("AfmoeForCausalLM",),
    "apertus": ("ApertusForCausalLM",),
    "arcee": ("ArceeForCausalLM",),
    "arctic": ("ArcticForCausalLM",),
    "arwkv7": ("RwkvHybridForCausalLM",),
    "baichuan": (
        "BaiChuanForCausalLM",
        "BaichuanForCausalLM",
    ),
    "bailingmoe": ("BailingMoeForCausalLM",),
    "bailingmoe2": (
        "BailingMoeV2ForCausalLM",
        "modeling_sarvam_moe.SarvamMoEForCausalLM",
        "SarvamMoEForCausalLM",
    ),
    "bailingmoe3": (
        "BailingMoeV3ForCausalLM",
        "BailingMoeV3VLForConditionalGeneration",
    ),
    "bert": (
        "BertForMaskedLM",
        "BertForSequenceClassification",
        "BertModel",
        "CamembertModel",
        "DistilBertForMaskedLM",
        "DistilBertForSequenceClassification",
        "DistilBertModel",
        "NomicBertModel",
        "RobertaForSequenceClassification",
        "RobertaModel",
        "XLMRobertaForSequenceClassification",
        "XLMRobertaModel",
    ),
    "bitnet": (
        "BitnetForCausalLM",
        "BitNetForCausalLM",
    ),
    "bloom": (
        "BloomForCausalLM",
        "BloomModel",
    ),
    "chameleon": (
        "ChameleonForCausalLM",
        "ChameleonForConditionalGeneration",
    ),
    "chatglm": (
        "ChatGLMForConditionalGeneration",
        "ChatGLMModel",
        "GlmForCausalLM",
    ),
    "clef": ("ClefModel",),
    "codeshell": ("CodeShellForCausalLM",),
    "cogvlm": ("CogVLMForCausalLM",),
    "cohere2": ("Cohere2ForCausalLM",),
    "cohere2moe": ("Cohere2MoeForCausalLM",),
    "command-r": ("CohereForCausalLM",),
    "dbrx": ("DbrxForCausalLM",),
    "deci": ("DeciLMForCausalLM",),
    "deepseek": ("DeepseekForCausalLM",),
    "deepseek2": (
        "DeepseekOCRForCausalLM",
        "DeepseekV2ForCausalLM",
        "DeepseekV3ForCausalLM",
        "Glm4MoeLiteForCausalLM",
        "KimiK25ForConditionalGeneration",
        "KimiVLForConditionalGeneration",
        "UnlimitedOCRForCausalLM",
        "YoutuForCausalLM",
        "YoutuVLForConditionalGeneration",
    ),
    "deepseek32": ("DeepseekV32ForCausalLM",),
    "deepseek4": ("DeepseekV4ForCausalLM",),
    "dflash": (
        "DeepseekV4DSparkModel",
        "DFlash2DraftModel",
        "DFlashDraftModel",
        "DSparkDraftModel",
        "DSparkSpeculator",
        "Gemma4DSparkModel",
        "Lfm2DSparkDraftModel",
        "LingDSparkModel",
        "MuseGlimmerAssistantModel",
        "Qwen3DSparkModel",
    ),
    "dots1": ("Dots1ForCausalLM",),
    "dots3note": (
        "Dots3NoteForCausalLM",
        "Dots3NoteForConditionalGeneration",
        "Dots3NoteTextForCausalLM",
    ),
    "dream": ("DreamModel",),
    "ernie4_5": (
        "Ernie4_5_ForCausalLM",
        "Ernie4_5ForCausalLM",
    ),
    "ernie4_5-moe": ("Ernie4_5_MoeForCausalLM",),
    "eurobert": (
        "EuroBertModel",
        "JinaEmbeddingsV5Model",
    ),
    "exaone": ("ExaoneForCausalLM",),
    "exaone-moe": (
        "ExaoneMoEForCausalLM",
        "ExaoneMoeForCausalLM",
    ),
    "exaone4": (
        "Exaone4_5_ForConditionalGeneration",
        "Exaone4ForCausalLM",
    ),
    "falcon": (
        "FalconForCausalLM",
        "RWForCausalLM",
    ),
    "falcon-h1": ("FalconH1ForCausalLM",),
    "gemma": ("GemmaForCausalLM",),
    "gemma-embedding": ("Gemma3TextModel",),
    "gemma2": ("Gemma2ForCausalLM",),
    "gemma3": (
        "Gemma3ForCausalLM",
        "Gemma3ForConditionalGeneration",
    ),
    "gemma3n": (
        "Gemma3nForCausalLM",
        "Gemma3nForConditionalGeneration",
    ),
    "gemma4": (
        "Gemma4ForCausalLM",
        "Gemma4ForConditionalGeneration",
        "Gemma4UnifiedForConditionalGeneration",
    ),
    "gemma4-assistant": (
        "Gemma4AssistantForCausalLM",
        "Gemma4UnifiedAssistantForCausalLM",
    ),
    "glm-dsa": ("GlmMoeDsaForCausalLM",),
    "glm4": (
        "Glm4ForCausalLM",
        "Glm4vForConditionalGeneration",
        "GlmOcrForConditionalGeneration",
    ),
    "glm4moe": (
        "Glm4MoeForCausalLM",
        "Glm4vMoeForConditionalGeneration",
        "SolarOpenForCausalLM",
    ),
    "glm5-next": ("Glm5NextForConditionalGeneration",),
    "gpt-oss": ("GptOssForCausalLM",),
    "gpt2": (
        "GPT2LMHeadModel",
        "RuGPT3XLForCausalLM",
    ),
    "gptneox": ("GPTNeoXForCausalLM",),
    "granite": (
        "GraniteForCausalLM",
        "GraniteSpeechForConditionalGeneration",
        "GraniteSpeechPlusForConditionalGeneration",
    ),
    "granite_swa": (
        "GraniteMoeSWAForCausalLM",
        "GraniteSWAForCausalLM",
    ),
    "granitehybrid": (
        "BambaForCausalLM",
        "GraniteMoeHybridForCausalLM",
    ),
    "granitemoe": (
        "GraniteMoeForCausalLM",
        "GraniteMoeSharedForCausalLM",
    ),
    "graniteswitch": ("GraniteSwitchForCausalLM",),
    "grok": (
        "Grok1ForCausalLM",
        "GrokForCausalLM",
    ),
    "grovemoe": (
        "GroveMoeForCausalLM",
        "modeling_grove_moe.GroveMoeForCausalLM",
    ),
    "hrm_text": ("HrmTextForCausalLM",),
    "hunyuan-dense": ("HunYuanDenseV1ForCausalLM",),
    "hunyuan-moe": ("HunYuanMoEV1ForCausalLM",),
    "hunyuan_vl": ("HunYuanVLForConditionalGeneration",),
    "hy_v3": ("HYV3ForCausalLM",),
    "hy_v4": ("HYV4ForCausalLM",),
    "internlm2": ("InternLM2ForCausalLM",),
    "jais": ("JAISLMHeadModel",),
    "jais2": ("Jais2ForCausalLM",),
    "jamba": ("JambaForCausalLM",),
    "jina-bert-v2": (
        "JinaBertForMaskedLM",
        "JinaBertModel",
    ),
    "kimi-k3": ("KimiK3ForConditionalGeneration",),
    "kimi-linear": (
        "KimiLinearForCausalLM",
        "KimiLinearModel",
    ),
    "laguna": ("LagunaForCausalLM",),
    "lfm2": (
        "Lfm25AudioTokenizer",
        "Lfm2BidirectionalForMaskedLM",
        "Lfm2BidirectionalModel",
        "LFM2ForCausalLM",
        "Lfm2ForCausalLM",
        "Lfm2Model",
    ),
    "lfm2moe": ("Lfm2MoeForCausalLM",),
    "llada": ("LLaDAModelLM",),
    "llada-moe": (
        "LLaDAMoEModel",
        "LLaDAMoEModelLM",
    ),
    "llama": (
        "Eagle3DraftModel",
        "Eagle3LlamaForCausalLM",
        "Eagle3Speculator",
        "InternLM3ForCausalLM",
        "IQuestCoderForCausalLM",
        "JanusForConditionalGeneration",
        "LLaMAForCausalLM",
        "LlamaForCausalLM",
        "LlamaForCausalLMEagle3",
        "LlamaModel",
        "LlavaForConditionalGeneration",
        "MistralForCausalLM",
        "MixtralForCausalLM",
        "Sarashina2VisionForCausalLM",
        "UltravoxModel",
        "VLlama3ForCausalLM",
        "VoxtralForConditionalGeneration",
    ),
    "llama-embed": ("LlamaBidirectionalModel",),
    "llama4": (
        "Llama4ForCausalLM",
        "Llama4ForConditionalGeneration",
    ),
    "maincoder": ("MaincoderForCausalLM",),
    "mamba": (
        "FalconMambaForCausalLM",
        "MambaForCausalLM",
        "MambaLMHeadModel",
    ),
    "mamba2": ("Mamba2ForCausalLM",),
    "maple": ("MapleForCausalLM",),
    "mellum": ("MellumForCausalLM",),
    "mimo2": (
        "MiMoV2FlashForCausalLM",
        "MiMoV2ForCausalLM",
    ),
    "minicpm": ("MiniCPMForCausalLM",),
    "minicpm3": ("MiniCPM3ForCausalLM",),
    "minimax-01": (
        "MiniMaxM1ForCausalLM",
        "MiniMaxText01ForCausalLM",
    ),
    "minimax-m2": ("MiniMaxM2ForCausalLM",),
    "minimax-m3": (
        "MiniMaxM3SparseForCausalLM",
        "MiniMaxM3SparseForConditionalGeneration",
    ),
    "mistral3": (
        "Ministral3ForCausalLM",
        "Mistral3ForConditionalGeneration",
    ),
    "modern-bert": (
        "ModernBertDecisionModel",
        "ModernBertForMaskedLM",
        "ModernBertForSequenceClassification",
        "ModernBertModel",
    ),
    "mpt": ("MPTForCausalLM",),
    "muse-glimmer": ("MuseGlimmerForConditionalGeneration",),
    "nanbeige": ("NanbeigeForCausalLM",),
    "nemotron": ("NemotronForCausalLM",),
    "nemotron_h": ("NemotronHForCausalLM",),
    "nemotron_h_moe": ("NemotronHPuzzleForCausalLM",),
    "neo-bert": (
        "NeoBERT",
        "NeoBERTForSequenceClassification",
        "NeoBERTLMHead",
    ),
    "olmo": (
        "OLMoForCausalLM",
        "OlmoForCausalLM",
    ),
    "olmo2": (
        "Olmo2ForCausalLM",
        "Olmo3ForCausalLM",
    ),
    "olmoe": ("OlmoeForCausalLM",),
    "openelm": ("OpenELMForCausalLM",),
    "orion": ("OrionForCausalLM",),
    "paddleocr": ("PaddleOCRVLForConditionalGeneration",),
    "pangu-embedded": ("PanguEmbeddedForCausalLM",),
    "phi2": ("PhiForCausalLM",),
    "phi3": (
        "Phi3ForCausalLM",
        "Phi4ForCausalLMV",
    ),
    "phimoe": ("PhiMoEForCausalLM",),
    "plamo": ("PlamoForCausalLM",),
    "plamo2": (
        "PLaMo2ForCausalLM",
        "Plamo2ForCausalLM",
    ),
    "plamo3": (
        "PLaMo3ForCausalLM",
        "Plamo3ForCausalLM",
    ),
    "plm": ("PLMForCausalLM",),
    "pockettts": ("PocketTTSModel",),
    "qwen": ("QWenLMHeadModel",),
    "qwen2": (
        "AudioFlamingo3ForConditionalGeneration",
        "DotsOCRForCausalLM",
        "KORMoForCausalLM",
        "Qwen2AudioForConditionalGeneration",
        "Qwen2ForCausalLM",
        "Qwen2Model",
    ),
    "qwen2moe": ("Qwen2MoeForCausalLM",),
    "qwen2vl": (
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen2_5OmniModel",
        "Qwen2VLForConditionalGeneration",
        "Qwen2VLModel",
    ),
    "qwen3": (
        "Qwen3ForCausalLM",
        "Qwen3Model",
        "StepVLForConditionalGeneration",
    ),
    "qwen35": (
        "KevModel",
        "LevModel",
        "MiniCPMV4_6ForConditionalGeneration",
        "NimbleModel",
        "OpenJevModel",
        "Qwen3_5ForCausalLM",
        "Qwen3_5ForConditionalGeneration",
    ),
    "qwen35moe": (
        "Qwen3_5MoeForCausalLM",
        "Qwen3_5MoeForConditionalGeneration",
    ),
    "qwen3moe": ("Qwen3MoeForCausalLM",),
    "qwen3next": ("Qwen3NextForCausalLM",),
    "qwen3tts": ("Qwen3TTSForConditionalGeneration",),
    "qwen3vl": (
        "Qwen3ASRForConditionalGeneration",
        "Qwen3VLForConditionalGeneration",
    ),
    "qwen3vlmoe": (
        "Qwen3OmniMoeForConditionalGeneration",
        "Qwen3VLMoeForConditionalGeneration",
    ),
    "qwen4exp": (
        "Qwen4ExpForCausalLM",
        "Qwen4ExpForConditionalGeneration",
    ),
    "refact": ("GPTRefactForCausalLM",),
    "rnd1": ("RND1",),
    "rwkv6": ("Rwkv6ForCausalLM",),
    "rwkv6qwen2": ("RWKV6Qwen2ForCausalLM",),
    "rwkv7": (
        "RWKV7ForCausalLM",
        "Rwkv7ForCausalLM",
    ),
    "seed_oss": ("SeedOssForCausalLM",),
    "smallthinker": ("SmallThinkerForCausalLM",),
    "smollm3": ("SmolLM3ForCausalLM",),
    "spark2_5": ("Spark2_5ForCausalLM",),
    "stablelm": (
        "LlavaStableLMEpochForCausalLM",
        "StableLMEpochForCausalLM",
        "StableLmForCausalLM",
    ),
    "starcoder": ("GPTBigCodeForCausalLM",),
    "starcoder2": ("Starcoder2ForCausalLM",),
    "step35": (
        "Step3p5ForCausalLM",
        "Step3p7ForConditionalGeneration",
    ),
    "t5": (
        "MT5ForConditionalGeneration",
        "T5ForConditionalGeneration",
        "T5WithLMHeadModel",
        "UMT5ForConditionalGeneration",
        "UMT5Model",
    ),
    "t5encoder": ("T5EncoderModel",),
    "talkie": ("TalkieForCausalLM",),
    "wavtokenizer-dec": ("WavTokenizerDec",),
    "xverse": ("XverseForCausalLM",),
}
"""GGUF architecture -> the classes that become it."""

BY_TEXT_MODEL = (
    "GraniteSpeechForConditionalGeneration",
    "GraniteSpeechPlusForConditionalGeneration",
)
"""Classes that are converted by the class of their text model, in `text_config`."""

REFUSED: dict[str, str] = {
    **dict.fromkeys(
        BY_TEXT_MODEL,
        "its text model has a class of its own, which text_config does not tell",
    ),
    "ClefModel": (
        "it decides by a head that its checkpoints have in joint_head.safetensors, "
        "which quantkit does not read"
    ),
    "PocketTTSModel": "its checkpoints have no config.json, and it predicts speech",
    "Qwen3TTSForConditionalGeneration": (
        "it predicts the codes of speech; llama.cpp's converter computes its embedding "
        "with matrix products, whose last bits depend on the computer"
    ),
    "UltravoxModel": "it has no text model of its own",
    **dict.fromkeys(
        ("KevModel", "LevModel", "NimbleModel"),
        "it is an adapter, which llama.cpp's converter merges into a model that it "
        "downloads; merge it with PEFT first",
    ),
    "OpenJevModel": (
        "it decides by a template of prompts that llama.cpp's converter has and "
        "quantkit does not; without it, it is the Qwen 3.5 that its config.json names"
    ),
}
"""Class -> why quantkit does not convert it, where the reason is not lack of time."""


def architecture_of(hf_class: str) -> str | None:
    """The GGUF architecture that llama.cpp's converter makes of a class; None: none."""
    for name, classes in ARCHITECTURES.items():
        if hf_class in classes:
            return name
    return None
