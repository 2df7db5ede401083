"""Build the tokenizer fields of a checkpoint folder: pick the file, apply the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import CheckpointError, UnsupportedModelError
from ..gguf.keys import Field, boolean, uint32
from ..progress import Notify
from ..settings import SIZE, checked
from .byte_level import byte_level_fields, spaced_fields
from .decision_template import decision_template_fields
from .fairseq import FAIRSEQ_MODEL, fairseq_fields
from .families import FamilyRules, Source, SpacePrefix, rules_of
from .files import TokenizerFiles
from .gemma4 import gemma4_fields
from .library import library_tokenizer, name_by_hash, read_definition
from .mistral_pieces import mistral_piece_fields, mistral_piece_file
from .pieces import piece_fields, piece_merges_fields, sentencepiece_pieces
from .plamo import plamo_fields
from .pretokenizers import recognize_or_none, splits_at_spaces
from .rwkv_world import rwkv_fields
from .schema import SPECIAL_KINDS, Json
from .sentencepiece_file import ModelType, SentencePieceFile, is_tiktoken
from .space_runs import with_unused_space_runs
from .special import special_fields
from .tekken import tekken_fields
from .tiktoken import TiktokenRules, tiktoken_fields
from .unigram import unigram_json_fields, unigram_model_fields
from .word_piece import word_piece_fields

__all__ = ["VocabType", "tokenizer_fields"]

VocabType = Literal["auto", "spm", "bpe", "hf"]

_KEY = "tokenizer.ggml."
CODED = "HybridDNATokenizer"
# HunYuan's dense models with this hidden size have a wrong BOS in config.json.
_HUNYUAN_WIDTH, _HUNYUAN_BOS = 4096, 127958


def tokenizer_fields(
    folder: Path,
    config: Mapping[str, Any],
    arch: str,
    *,
    pre_tokenizer: str | None = None,
    vocab_type: VocabType = "auto",
    pad_vocab: bool = False,
    notify: Notify | None = None,
) -> dict[str, Field]:
    """The `tokenizer.*` metadata of a checkpoint folder, in llama.cpp's order.

    Args:
        folder: holds the tokenizer's files.
        config: config.json; its `architectures` names the family.
        arch: `general.architecture`, used if `config` has no `architectures`.
        pre_tokenizer: value of `tokenizer.ggml.pre` for byte-level BPE; None: detect
            it.
        vocab_type: which file to use. "auto": the family's own choice. "spm":
            tokenizer.model, written as `llama` even if it is a unigram model. "bpe":
            merges, written as `gpt2`. "hf": tokenizer.json of any type.
        pad_vocab: pad the vocabulary to the model's `vocab_size` where llama.cpp's
            converter does not, instead of refusing it.
        notify: called with a message where two files disagree, with what is used, and
            where tokens are left out.

    Raises:
        CheckpointError: the folder has no tokenizer, or another model's.
        FormatError: a file is damaged.
        UnsupportedModelError: quantkit does not support this tokenizer.
    """
    folder = folder / rules_of(config, arch, {}).folder
    files = TokenizerFiles.read(folder, config, notify)
    _refuse_code(files)
    rules = rules_of(config, arch, files.settings)
    job = _Job(files, rules, pre_tokenizer, vocab_type, pad_vocab)
    fields: dict[str, Field] = {}
    if rules.add_bos is not None:
        fields[_KEY + "add_bos_token"] = boolean(rules.add_bos)
    fields |= _written(rules.flags)
    if rules.space is SpacePrefix.SETTINGS_FIRST:
        fields |= _space_of_settings(files)
    fields |= job.vocabulary()
    if rules.spells_space_runs:
        fields = with_unused_space_runs(fields)
    _refuse_equal_texts(folder, fields[_KEY + "tokens"].value)
    kind = fields[_KEY + "model"].value
    if pre_tokenizer is not None and kind not in ("gpt2", "bert"):
        raise CheckpointError(
            f"`pre_tokenizer={pre_tokenizer}`: the vocabulary is of the kind "
            f"{kind!r}, which has no pre-tokenizer; leave it out"
        )
    if rules.space is SpacePrefix.SETTINGS_LAST:
        fields |= _space_of_settings(files)
    size = config.get("vocab_size")
    if isinstance(size, int):
        fields |= _written(rules.sizes.get(size, {}))
    fields |= _last_roles(rules.last, fields[_KEY + "tokens"].value)
    if rules.chat_ends is not None:
        fields |= _chat_ends(files, rules.chat_ends)
    if rules.is_hunyuan:
        fields |= _hunyuan_fields(files, len(fields[_KEY + "tokens"].value))
    fields = _with_types(fields, rules, config)
    return fields | decision_template_fields(files) if rules.is_decision else fields


def _refuse_code(files: TokenizerFiles) -> None:
    """Refuse tokens that only Python code in the checkpoint makes.

    Raises:
        UnsupportedModelError: the tokenizer has such tokens.
    """
    if files.settings.get("tokenizer_class") == CODED:
        raise UnsupportedModelError(
            f"{files.folder}/tokenizer_config.json names the tokenizer {CODED}, whose "
            "tokens of DNA are made by Python code in the checkpoint, which quantkit "
            "does not run; readers would get wrong tokens without them"
        )


def _with_types(
    fields: dict[str, Field], rules: FamilyRules, config: Mapping[str, Any]
) -> dict[str, Field]:
    """The fields with the number of token types; see `FamilyRules.types_after`."""
    after = rules.types_after
    if after is None:
        return fields
    stated = config.get("type_vocab_size", rules.n_types or 1)
    n_types = checked(stated, SIZE, "type_vocab_size")
    own = {_KEY + "token_type_count": uint32(n_types)}
    if not after and fields[_KEY + "model"].value == "t5":
        after = "add_space_prefix"  # as in XLM-RoBERTa, whose vocabulary this is
    if not after:
        return own | fields
    if _KEY + after not in fields:
        return fields | own
    names = list(fields)
    stop = names.index(_KEY + after) + 1
    first = {name: fields[name] for name in names[:stop]}
    return first | own | fields


def _refuse_equal_texts(folder: Path, texts: Sequence[str]) -> None:
    """Refuse two tokens with one text: llama.cpp stops when it loads them.

    Raises:
        CheckpointError: two tokens have the same text, which is not empty.
    """
    if len(set(texts)) == len(texts):
        return
    first: dict[str, int] = {}
    for i, text in enumerate(texts):
        if text and first.setdefault(text, i) != i:
            raise CheckpointError(
                f"{folder}: the tokens {first[text]} and {i} have the same text "
                f"{text!r:.80}, but readers need a different one for each; correct the "
                "added tokens in tokenizer.json, tokenizer_config.json or "
                "added_tokens.json"
            )


def _written(values: Mapping[str, int | bool]) -> dict[str, Field]:
    return {
        _KEY + key: boolean(value) if isinstance(value, bool) else uint32(value)
        for key, value in values.items()
    }


def _space_of_settings(files: TokenizerFiles) -> dict[str, Field]:
    add_space = files.settings.get("add_prefix_space")
    if add_space is None:
        return {}
    return {_KEY + "add_space_prefix": boolean(bool(add_space))}


@dataclass(frozen=True)
class _Job:
    """The inputs for reading one vocabulary."""

    files: TokenizerFiles
    rules: FamilyRules
    pre_tokenizer: str | None
    vocab_type: VocabType
    pad_vocab: bool

    def vocabulary(self) -> dict[str, Field]:
        """The vocabulary's fields, from the first source that exists."""
        for source in self._sources():
            match source:
                case Source.SENTENCEPIECE if self._has_sentencepiece():
                    return self._from_sentencepiece()
                case Source.FAIRSEQ if (self.files.folder / FAIRSEQ_MODEL).is_file():
                    return fairseq_fields(self.files, has_mask=self.rules.has_mask)
                case Source.RANKS if (ranks := self._ranks()) is not None:
                    return self._from_ranks(ranks)
                case Source.TEKKEN if self._has(source) and not self._has(Source.JSON):
                    return tekken_fields(self.files)
                case Source.MISTRAL if path := mistral_piece_file(self.files.folder):
                    return mistral_piece_fields(self.files, path)
                case Source.RWKV if self._has(source):
                    return rwkv_fields(self.files)
                case Source.PLAMO if self._has(source):
                    has_template = self.rules.has_template
                    return plamo_fields(self.files, has_template=has_template)
                case Source.JSON if definition := read_definition(self.files):
                    return self._from_json(definition)
        raise self._missing()

    def _sources(self) -> tuple[Source, ...]:
        match self.vocab_type:
            case "spm":
                kinds = (Source.SENTENCEPIECE, Source.MISTRAL)
                own = tuple(kind for kind in kinds if kind in self.rules.sources)
                return own or (Source.SENTENCEPIECE,)
            case "hf":
                return (Source.JSON,)
            case "bpe":
                return (Source.JSON, Source.RANKS)
        return self.rules.sources

    def _missing(self) -> CheckpointError:
        ranks = self.rules.ranks
        names = {source: source.value for source in self._sources()}
        if Source.RANKS in names:
            names[Source.RANKS] = "" if ranks is None else ranks.file
        wanted = dict.fromkeys(name for name in names.values() if name)
        return CheckpointError(
            f"{self.files.folder} has {'neither ' if len(wanted) > 1 else 'no '}"
            + " nor ".join(wanted)
            + "; download them, or write them where transformers is installed: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )

    @property
    def _piece_file(self) -> Path:
        """The path of the SentencePiece model, which may not exist."""
        paths = [self.files.folder / name for name in self.rules.piece_files]
        return next((path for path in paths if path.is_file()), paths[0])

    def _has(self, source: Source) -> bool:
        return (self.files.folder / source.value).is_file()

    def _has_sentencepiece(self) -> bool:
        path = self._piece_file
        return path.is_file() and not is_tiktoken(path)

    def _ranks(self) -> TiktokenRules | None:
        """The rules for the rank file, if there is one."""
        rules = self.rules.ranks
        if rules is None:
            return None
        path = self.files.folder / rules.file
        return rules if path.is_file() and is_tiktoken(path) else None

    def _from_sentencepiece(self) -> dict[str, Field]:
        files, rules = self.files, self.rules
        model = SentencePieceFile.read(self._piece_file)
        if model.type is ModelType.UNIGRAM and self.vocab_type == "auto":
            return unigram_model_fields(files, model, rules.pieces)
        pieces, n_tokens = sentencepiece_pieces(files, model, rules.pieces)
        fields = piece_fields(pieces, n_tokens, rules.pieces)
        if rules.space is SpacePrefix.MODEL:
            fields[_KEY + "add_space_prefix"] = boolean(model.adds_space)
        fields |= special_fields(files, n_tokens)
        chat_eos = [i for i, (text, *_) in pieces.items() if text == rules.chat_eos]
        if chat_eos:
            fields[_KEY + "eos_token_id"] = uint32(chat_eos[0])
        if rules.fixed:
            kinds = tuple(rules.fixed)
            fields |= special_fields(
                files, n_tokens, kinds=kinds, defaults=lambda _: rules.fixed
            )
        if rules.space is SpacePrefix.NEVER:
            fields[_KEY + "add_space_prefix"] = boolean(False)
        return fields | _written(rules.with_model)

    def _from_ranks(self, rules: TiktokenRules) -> dict[str, Field]:
        fields, added = tiktoken_fields(self.files, rules, self.pre_tokenizer)
        n_tokens = len(fields[_KEY + "tokens"].value)
        return fields | special_fields(
            self.files, n_tokens, defaults=lambda ids: self._roles(ids, added)
        )

    def _from_json(self, definition: Json) -> dict[str, Field]:
        model = definition["model"]
        match model.get("type") or "BPE":
            case "Unigram" if self.vocab_type != "bpe":
                return unigram_json_fields(self.files)
            case "WordPiece" if self.vocab_type != "bpe":
                return word_piece_fields(self.files, self.pre_tokenizer)
            case "BPE" if self.rules.splits_at_spaces and splits_at_spaces(definition):
                fields = spaced_fields(self.files, definition)
                n_tokens = len(fields[_KEY + "tokens"].value)
                return fields | special_fields(self.files, n_tokens)
            case "BPE" if self.rules.is_gemma4 and self.vocab_type == "auto":
                return gemma4_fields(self.files, definition, self.pad_vocab)
            case "BPE" if self._holds_pieces(definition):
                fields = piece_merges_fields(self.files, self.pad_vocab)
                n_tokens = len(fields[_KEY + "tokens"].value)
                return fields | special_fields(self.files, n_tokens)
            case "BPE":
                return self._from_merges(definition)
        raise UnsupportedModelError(
            f"tokenizer.json holds a vocabulary of the type {model.get('type')!r:.80}; "
            "quantkit writes SentencePiece models, BPE, unigram and WordPiece"
            + (" (with `vocab_type=bpe` only BPE)" if self.vocab_type == "bpe" else "")
        )

    def _holds_pieces(self, definition: Json) -> bool:
        """Whether to write the merges as pieces with scores."""
        if not definition["model"].get("byte_fallback") or self.vocab_type == "bpe":
            return False
        if self.rules.merges_are_pieces or self.vocab_type == "hf":
            return True
        if self.pre_tokenizer is not None or recognize_or_none(definition) is not None:
            return False
        made = library_tokenizer(self.files, definition)
        return name_by_hash(self.files, made) is None

    def _from_merges(self, definition: Json) -> dict[str, Field]:
        fields = byte_level_fields(self.files, definition, self.pre_tokenizer)
        added = {token.content: token.id for token in self.files.added_in_tokenizer()}
        kinds = SPECIAL_KINDS
        if self.rules.is_hunyuan and self.files.config.get("pad_token_id") == -1:
            kinds = tuple(kind for kind in kinds if kind != "pad")
        return fields | special_fields(
            self.files,
            len(fields[_KEY + "tokens"].value),
            kinds=kinds,
            defaults=lambda ids: self._roles(ids, added),
        )

    def _roles(
        self, ids: Mapping[str, int], added: Mapping[str, int]
    ) -> dict[str, int]:
        """Ids for roles that no file names, by the family's rules."""
        wanted = dict(self.rules.lookup) if ids else {}
        if not ids:
            wanted = {**self.rules.stand_ins, **self.rules.lookup}
        return {kind: added[text] for kind, text in wanted.items() if text in added}


def _last_roles(wanted: Mapping[str, str], texts: Sequence[str]) -> dict[str, Field]:
    """The ids of the tokens with these texts, by role."""
    found = {kind: text for kind, text in wanted.items() if text in texts}
    return _written(
        {f"{kind}_token_id": list(texts).index(text) for kind, text in found.items()}
    )


def _chat_ends(files: TokenizerFiles, text: str) -> dict[str, Field]:
    """BOS and EOS as the token that tokenizer_config.json adds with this text."""
    ids = [token.id for token in files.added_in_settings() if token.content == text]
    return _written({f"{kind}_token_id": ids[0] for kind in ("bos", "eos") if ids})


def _hunyuan_fields(files: TokenizerFiles, n_tokens: int) -> dict[str, Field]:
    """Ids that HunYuan's configs give wrongly or under other keys."""
    config = files.config
    ends = files.read_generation().get("eos_token_id")
    turn = ends[0] if isinstance(ends, list) and len(ends) >= 2 else None
    corrected = {
        key: i
        for key, i in (("eos", config.get("eod_token_id")), ("eot", turn))
        if isinstance(i, int) and 0 <= i < n_tokens
    }
    if not files.tokenizer and config.get("hidden_size") == _HUNYUAN_WIDTH:
        corrected["bos"] = _HUNYUAN_BOS
    return _written({f"{kind}_token_id": i for kind, i in corrected.items()})
