"""The model families that quantkit supports; `listing` names them."""

from __future__ import annotations

from .families import (
    ENCODERS,
    all_families,
    family_for_class,
    family_for_config,
    family_named,
    settled,
)
from .loading import (
    check_model,
    kept_by_model,
    load_embedder,
    load_encoder,
    load_model,
)

__all__ = [
    "ENCODERS",
    "all_families",
    "check_model",
    "family_for_class",
    "family_for_config",
    "family_named",
    "kept_by_model",
    "load_embedder",
    "load_encoder",
    "load_model",
    "settled",
]

FAMILIES: tuple[Family, ...] = (
    Eagle3(),
    DFlash(),
    DSpark(),
    MuseGlimmerAssistant(),
    DeepseekV4DSpark(),
    Gemma4DSpark(),
    Llama(),
    Mixtral(),
    Llava(),
    Janus(),
    Sarashina2Vision(),
    VLlama3(),
    Voxtral(),
    Llama4(),
    Mistral3(),
    Mistral4(),
    Qwen(),
    Qwen2(),
    Qwen3(),
    Qwen2Moe(),
    Qwen3Moe(),
    Qwen3Next(),
    Qwen35(),
    Qwen35Moe(),
    Qwen4Exp(),
    Qwen2VL(),
    Qwen2Omni(),
    Qwen3VL(),
    Qwen3VLMoe(),
    Qwen3OmniMoe(),
    SmolLM3(),
    Arcee(),
    Granite(),
    GraniteMoe(),
    GraniteHybrid(),
    Granite4(),
    Granite4Moe(),
    MiniCPM(),
    InternLM2(),
    Baichuan(),
    Ernie45(),
    Ernie45Moe(),
    Exaone(),
    Exaone4(),
    ExaoneMoe(),
    HunYuanDense(),
    HunYuanMoe(),
    Gemma(),
    Gemma2(),
    Gemma3(),
    Gemma3n(),
    Gemma4(),
    Gemma4Unified(),
    Gemma4Assistant(),
    StableLm(),
    Phi(),
    Phi3(),
    Olmo(),
    Olmo2(),
    Olmo3(),
    Olmoe(),
    SeedOss(),
    Glm(),
    ChatGlm(),
    Glm4(),
    Glm4v(),
    GlmOcr(),
    Glm4Moe(),
    Glm4vMoe(),
    SolarOpen(),
    Cohere(),
    Cohere2(),
    Cohere2Moe(),
    GPT2(),
    GPTNeoX(),
    Falcon(),
    Bloom(),
    Mpt(),
    Bert(),
    DistilBert(),
    Roberta(),
    XlmRoberta(),
    NomicBert(),
    NomicBertMoe(),
    JinaBert2(),
    JinaBert3(),
    NeoBert(),
    ModernBert(),
    ModernBertDecision(),
    EuroBert(),
    EmbeddingGemma(),
    T5(),
    T5Encoder(),
    Starcoder2(),
    GptOss(),
    HunYuan3(),
    HYV4(),
    PhiMoe(),
    Laguna(),
    Afmoe(),
    BailingMoe(),
    BailingMoe2(),
    SarvamMoe(),
    BailingMoe3(),
    BailingMoe3VL(),
    Dots1(),
    Dots3Note(),
    DeepseekV1(),
    SmallThinker(),
    Arctic(),
    InternLM3(),
    Xverse(),
    Orion(),
    Nemotron(),
    StarCoder(),
    KimiLinear(),
    KimiK3(),
    FalconH1(),
    Jamba(),
    Mamba(),
    FalconMamba(),
    Mamba2(),
    Lfm2(),
    Lfm2Moe(),
    NemotronH(),
    NemotronHMoe(),
    NemotronHPuzzle(),
    MiMoV2(),
    MuseGlimmer(),
    MiniMaxText01(),
    MiniMaxM2(),
    MiniMaxM3(),
    Step35(),
    StepVL(),
    Apertus(),
    GroveMoe(),
    Grok(),
    Dbrx(),
    OpenELM(),
    MiniCPM3(),
    Plm(),
    BitNet(),
    LlamaBitNet(),
    CodeShell(),
    Refact(),
    Jais(),
    Talkie(),
    Spark25(),
    DeepseekV2(),
    DeepseekV3(),
    DeepseekOcr(),
    Youtu(),
    YoutuVL(),
    KimiVL(),
    Glm4MoeLite(),
    GlmMoeDsa(),
    Glm5Next(),
    DeepseekV32(),
    DeepseekV4(),
    Plamo(),
    Plamo2(),
    Plamo3(),
    Bamba(),
    GraniteSwitch(),
    GraniteSwa(),
    GraniteMoeSwa(),
    Rwkv6(),
    Rwkv6Qwen2(),
    Rwkv7(),
    Arwkv7(),
    Dream(),
    Llada(),
    LladaMoe(),
    Rnd1(),
    Jais2(),
    LlamaEmbed(),
    Maincoder(),
    Maple(),
    Mellum(),
    PaddleOCR(),
    PanguEmbedded(),
    MiniCPMV46(),
    Qwen3ASR(),
    Exaone45(),
    HunYuanVL(),
    Deci(),
    Nanbeige(),
    CogVlm(),
    Lfm2Embedding(),
    Lfm2Bidirectional(),
    HrmText(),
    Lfm2Embedding(),
    Lfm2Bidirectional(),
)

Loaded = TypeVar("Loaded")

ROTATED = "prism.hadamard."
"""Keys of models whose weights have been rotated, whatever their types are."""

ENCODERS = frozenset(each.name for each in FAMILIES if not each.predicts_text)
"""Architectures that give embeddings and predict no text."""

BY_CLASS = {name: family for family in FAMILIES for name in family.hf_classes}


def _type_of(name: str) -> str:
    """A class or a `model_type` in a form that is the same for both."""
    stem = re.sub("(For[A-Z]|LMHead|Model).*|_text$", "", name)
    return stem.replace("_", "").lower()


BY_TYPE = {_type_of(name): family for name, family in BY_CLASS.items()}


def family_for_config(config: Config) -> Family:
    """The family of a Hugging Face config, by its `architectures`.

    Raises:
        CheckpointError: its `model_type`, by which transformers chooses the class, is
            of another family.
        UnsupportedModelError: no family has that class.
    """
    classes = config.get("architectures") or ()
    kind = str(config.get("model_type") or "")
    for name in classes:
        if name in BY_CLASS:
            family = _of_class(name, kind, config)
            if kind in family.model_types:
                return family
            of_kind = BY_TYPE.get(_type_of(kind), family)
            if family.drafts or name in of_kind.hf_classes:
                return family
            if of_kind.name != family.name:
                raise CheckpointError(
                    f"config.json names the architecture {name!r}, but its model_type "
                    f"is {shown(kind)}, by which transformers would load another "
                    "model; correct the one that is wrong"
                )
            return family
    raise _unknown_class(", ".join(map(str, classes)) or "(none)")


def _of_class(name: str, kind: str, config: Config) -> Family:
    """The family of a class; if it has several, by the model type or the config."""
    families = [family for family in FAMILIES if name in family.hf_classes]
    of_kind = (family for family in families if kind in family.model_types)
    suiting = (family for family in families if family.suits(config))
    return next(of_kind, next(suiting, BY_CLASS[name]))


def _unknown_class(given: str) -> UnsupportedModelError:
    """The error for a class of no family: what is known of it, and what is near."""
    what = "which quantkit does not know"
    if (architecture := architecture_of(given)) is not None:
        reason = REFUSED.get(given, "quantkit does not convert it yet")
        what = f"of llama.cpp's architecture {architecture!r}: {reason}"
    near = difflib.get_close_matches(given, BY_CLASS, n=3, cutoff=0.6)
    return UnsupportedModelError(
        f"config.json names the architecture {shown(given)}, {what}"
        + (f"; nearest: {', '.join(near)}" if near else "")
        + "; `tensors_only=True` writes the tensors under the names they have"
    )


def settled(config: Config, longest: int = MAX_COUNT) -> tuple[Family, dict[str, Any]]:
    """The family of a Hugging Face config, and the complete config.

    Args:
        config: with the keys of a nested `text_config` at the top level.
        longest: the longest axis of the checkpoint's tensors.

    Raises:
        CheckpointError: a value has a wrong type or range, or contradicts another.
        UnsupportedModelError: no family has that class.
    """
    stated = checked_config(config)
    family = family_for_config(stated)
    check_nested(stated)
    check_synonyms(stated)
    check_sizes(stated, longest)
    complete = family.complete(stated)
    check_relations(complete, family.layer_types, rotates=bool(family.rope_types))
    return family, complete


def family_named(arch: str) -> Family:
    """The family whose `general.architecture` is `arch`.

    Raises:
        UnsupportedModelError: no family has that name.
    """
    for family in FAMILIES:
        if family.name == arch:
            return family
    names = list(dict.fromkeys(family.name for family in FAMILIES))
    raise UnsupportedModelError(
        f"the model's architecture is {arch!r}, which quantkit does not know"
        f"{suggest(arch, names)}"
    )


def load_model(
    metadata: Mapping[str, Field],
    arch: str,
    weights: Weights,
    shapes: Mapping[str, tuple[int, ...]],
) -> Model:
    """Build the model from GGUF metadata and tensors.

    Args:
        metadata: typed metadata by GGUF key.
        arch: the architecture.
        weights: the tensors.
        shapes: their shapes by name, outermost axis first.

    Raises:
        FormatError: a key or a tensor is missing, has another shape or is left over.
        UnsupportedModelError: quantkit cannot run this model.
    """
    if any(key.startswith(ROTATED) for key in metadata):
        raise UnsupportedModelError(
            f"the metadata has {ROTATED}* keys: the weights are for activations that "
            "went through a Hadamard transform, which PrismML's branch of llama.cpp "
            "does; without it they give garbage"
        )

    def loader(family: Family) -> Callable[[Facts, Claims], Model]:
        return partial(Family.load, family) if family.not_run else family.load

    return _loaded(metadata, arch, weights, shapes, loader)


def load_encoder(
    metadata: Mapping[str, Field],
    arch: str,
    weights: Weights,
    shapes: Mapping[str, tuple[int, ...]],
) -> Encoder:
    """Build an encoder; arguments and errors as for `load_model`.

    Raises:
        UnsupportedModelError: the model predicts text.
    """

    def loader(family: Family) -> Callable[[Facts, Claims], Encoder]:
        if not isinstance(family, EncoderFamily):
            raise UnsupportedModelError(
                f"{arch} models predict text and give no embedding of it"
            )
        return family.load_encoder

    return _loaded(metadata, arch, weights, shapes, loader)


def load_embedder(
    metadata: Mapping[str, Field],
    arch: str,
    weights: Weights,
    shapes: Mapping[str, tuple[int, ...]],
) -> Embedder:
    """Build an encoder, or a decoder whose metadata says how it makes embeddings.

    Arguments and errors as for `load_model`.
    """
    if isinstance(family_named(arch), EncoderFamily):
        return load_encoder(metadata, arch, weights, shapes)
    model = load_model(metadata, arch, weights, shapes)
    return embedder_of(model, Facts(arch, metadata))


def _loaded(
    metadata: Mapping[str, Field],
    arch: str,
    weights: Weights,
    shapes: Mapping[str, tuple[int, ...]],
    loader: Callable[[Family], Callable[[Facts, Claims], Loaded]],
) -> Loaded:
    """What a family's loader makes; nothing may be left over."""
    family, facts = family_named(arch), Facts(arch, metadata)
    load = loader(family)
    if not family.not_run:
        refuse_unread_settings(facts, family.reads)
        refuse_foreign_tokens(facts)
    claims = Claims(weights, shapes)
    made = load(facts, claims)
    further = range(facts.n_layers, facts.n_blocks)
    claims.refuse_unlike_layers()
    claims.refuse_left_over(arch, family.unread, further)
    return made


def kept_by_model(
    metadata: Mapping[str, Field], arch: str, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[Kept | State, ...]:
    """What a model keeps of a sequence for the next token, by its shapes alone.

    Raises:
        FormatError, UnsupportedModelError: as for `load_model`.
    """
    return load_model(metadata, arch, Outline(shapes), shapes).kept


def check_model(
    metadata: Mapping[str, Field], arch: str, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse a model that could not be run, by the shapes of its tensors alone.

    Raises:
        FormatError: as for `load_model`.
        UnsupportedModelError: quantkit cannot run this model.
    """
    load = load_model if family_named(arch).predicts_text else load_encoder
    load(metadata, arch, Outline(shapes), shapes)
