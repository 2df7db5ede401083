"""Each key of a family's config.json is read, refused, or listed as harmless."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quantkit.errors import CheckpointError, QuantkitError
from quantkit.models import family_for_config
from quantkit.models.config_checks import checked_config

from .families.cases import CASES, Case
from .families.describe import described_metadata
from .families.harmless_keys import HARMLESS, HARMLESS_OF
from .families.sampling import one_in_four
from .families.stored import checkpoint, fixture, source_of, text_of

Place = tuple[str, ...]
READ_INSIDE = (
    *(
        "rope_parameters",
        "rope_scaling",
        "attn_config",
        "ffn_config",
        "linear_attn_config",
    ),
    *("attention_other_setting", "sparse_attention_config"),
)
COMPUTED = [f"rope_{x}.weight" for x in ("freqs", "factors_long", "factors_short")]
COMPUTED += ["blk.0.attn_q_norm.weight", "output.weight", "token_embd.weight"]

# Keys that the fixtures leave out.  Those that only transformers writes have tests in
# test_saved_again.py and test_gemma4_settings.py, others in test_config_keys.py.
KINDS = {"layer_types", "mlp_layer_types"}
INDEXER = "index_n_heads index_head_dim index_topk_blocks index_block_size"
ELSEWHERE = {
    "DeepseekV2ForCausalLM": {"head_dim"},
    "DeepseekV3ForCausalLM": {"head_dim"},
    "DeepseekV4ForCausalLM": KINDS
    | {"compress_rates", "partial_rotary_factor", "rope_parameters"},
    "Dots3NoteForCausalLM": {
        *("mlp_layer_types", "per_layer_config", "rope_parameters", "sliding_window"),
        "shared_experts_intermediate_size",
    },
    "EuroBertModel": {"classifier_pooling"},
    "Gemma4UnifiedForConditionalGeneration": {"per_layer_config"},
    "KimiLinearForCausalLM": KINDS
    | {"linear_conv_kernel_dim", "linear_head_dim", "linear_num_heads", "qk_head_dim"},
    "MiniMaxM3SparseForConditionalGeneration": KINDS
    | {*INDEXER.split(), "index_local_blocks", "rope_parameters"},
    "NomicBertModel": {
        *("head_dim", "hidden_act", "hidden_size", "intermediate_size"),
        *("layer_norm_eps", "max_position_embeddings", "num_attention_heads"),
        *("num_hidden_layers", "rope_parameters"),
        *("hidden_dropout_prob", "attention_probs_dropout_prob"),
    },
    "Step3p7ForConditionalGeneration": {
        *("hidden_act", "mlp_layer_types", "n_routed_experts", "num_experts_per_tok"),
        *("num_key_value_heads", "num_sliding_attention_heads", "per_layer_config"),
        *("query_pre_attn_scalar", "rope_parameters"),
        *("mtp_layer_types", "mtp_mlp_layer_types"),
    },
    "GPTNeoXForCausalLM": {"rope_parameters"},
}

NO_INPUTS = dict.fromkeys(
    ("hidden_size_per_layer_input", "vocab_size_per_layer_input"), 0
)
NEEDED = {
    "Gemma4AssistantForCausalLM": {
        "text_config": {**NO_INPUTS, "num_kv_shared_layers": 30}
    }
}
"""Settings without which the class refuses its own defaults."""

CASES_OF: dict[str, list[Case]] = {}
for case in CASES:
    CASES_OF.setdefault(fixture(case)["config"]["architectures"][0], []).append(case)


def made(path: Path, folder: Path, config: dict[str, Any]) -> Any:
    """All that depends on a config: metadata, tensors; or the error."""
    path.write_text(json.dumps(config))
    try:
        source = source_of(folder)
        metadata = described_metadata(source.model_fields)
    except QuantkitError as error:
        return str(error)
    tensors = source.tensors
    computed = [tensors[x].read(0, 1).tobytes() for x in COMPUTED if x in tensors]
    return metadata, list(tensors), computed


def is_of_its_kind(config: dict[str, Any]) -> bool:
    """Whether the value can mean something; others are refused without being read."""
    try:
        checked_config({**config, **text_of(config)})
    except CheckpointError:
        return False
    return True


def others(value: Any) -> list[Any]:
    """Other values of the same kind, or of any kind for null."""
    match value:
        case bool():
            return [not value]
        case int() | float():
            return [value * 2 or 1, value + 1, type(value)(value / 4)]
        case str():
            return ["relu", "sliding_attention"]
        case list():
            kinds = ("full_attention", "sliding_attention")
            alike = ([item] * len(value) for item in (*kinds, 0))
            return [value[::-1], [7], *alike]
    return [7, True, [0], 0.5, "relu", {"rope_type": "yarn", "factor": 2.0}]


def places(text: dict[str, Any]) -> Iterator[Place]:
    """The keys of a text model's config."""
    for key, value in text.items():
        if not isinstance(value, dict):
            yield (key,)
        elif key in READ_INSIDE:
            yield from ((key, x) for x in value if not isinstance(value[x], dict))


def with_value(config: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    """A copy of a config, changed at one place of the text model's."""
    changed = copy.deepcopy(config)
    inside = text_of(changed)
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    return changed


def unread(case: Case, folder: Path) -> tuple[set[str], set[str]]:
    """The keys of a case's config: those that change nothing, and the others."""
    folder = checkpoint(case, folder)
    path = folder / case.config_at
    config = json.loads(path.read_text())
    text = text_of(config)
    as_stored = made(path, folder, config)
    without: set[str] = set()
    rest: set[str] = set()
    for place in places(text):
        value = text
        for key in place:
            value = value[key]
        changes = (with_value(config, place, other) for other in others(value))
        valid = filter(is_of_its_kind, changes)
        is_read = any(made(path, folder, changed) != as_stored for changed in valid)
        (rest if is_read else without).add(".".join(place))
    return without, rest


@pytest.mark.parametrize("name", one_in_four(sorted(CASES_OF)))
def test_a_key_that_changes_nothing_is_harmless(name: str, tmp_path: Path) -> None:
    """A setting is never ignored without a reason, and each reason is needed."""
    found = [unread(case, tmp_path / case.name) for case in CASES_OF[name]]
    read = {key for _, rest in found for key in rest}
    without = {key for ignored, _ in found for key in ignored} - read
    own = set(HARMLESS_OF.get(name, {}))
    assert without - set(HARMLESS) - own == set()
    assert own - without == set()


@pytest.mark.reference
@pytest.mark.parametrize("name", sorted(CASES_OF))
def test_fixtures_have_all_keys_of_transformers(name: str) -> None:
    """So that the test above sees each of them."""
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    cls = getattr(transformers, name, None)
    if cls is None:
        pytest.skip("not a class of transformers")
    config = cls.config_class(**NEEDED.get(name, {}))
    keys = config.get_text_config().to_dict().keys()
    common = transformers.PretrainedConfig().to_dict().keys()
    known = set(HARMLESS) | set(HARMLESS_OF.get(name, {}))
    own = family_for_config(fixture(CASES_OF[name][0])["config"])
    for case in CASES:
        stored = fixture(case)["config"]
        family = family_for_config(stored)
        if family is own or name in family.hf_classes:
            known |= {*stored, *text_of(stored)}
    known |= ELSEWHERE.get(name, set())
    if known & {"rope_theta", "rope_scaling"}:
        known.add("rope_parameters")
    assert keys - common - known == set()
