"""Byte-level BPE with the published block of control tokens: text to ids and back, byte for byte.

Two doors lead in. `encode` takes text whose control names are meant (a rendered template, a raw completion prompt).
`encode_pieces` takes the pieces of a rendered chat, in which only the template's own control names are marked as such;
everything else, also a `<|im_end|>` that a user typed, becomes ordinary byte pairs. Between two control tokens the text
is encoded in one go, so the ids equal those of transformers' `apply_chat_template(tokenize=True)`.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from model.control_tokens import (
    BOS,
    EOS,
    NAMES,
    STOP_IDS,
    UNK,
    control_block,
    split_control,
    valid_unicode,
)
from model.templates import default_template
from model.tokenizer_file import NUM_BYTES, added_tokens, byte_table, stored_template, with_control, without_control

SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""Where text is cut before pairs are merged, as in the released tokenizer's family: a word takes one mark before it,
marks take the line breaks after them, every digit stands alone. Markup such as `</name>` and a line end stays short."""

RESERVED = 18
"""Control tokens of a vocabulary that is trained here."""

SMALLEST_VOCAB = RESERVED + NUM_BYTES

_NAMELESS = "\ufffd".encode()


class Tokenizer:
    """A `tokenizer.json` (BPE, byte-level) with a chat template.

    Raises ValueError when the file is of another kind or its control tokens have other ids.
    """

    bos_id, eos_id, pad_id = BOS, EOS, UNK
    stop_ids = STOP_IDS

    def __init__(self, spec: Mapping[str, Any], chat_template: str | None = None, source: str = "tokenizer.json"):
        self._spec = spec
        self.chat_template = default_template() if chat_template is None else chat_template
        added = added_tokens(spec, source)
        self._control: dict[str, int] = {token["content"]: token["id"] for token in added}
        self._special = frozenset(token["id"] for token in added if token["special"])
        self._control_pattern = re.compile("(" + "|".join(map(re.escape, sorted(self._control, key=len)[::-1])) + ")")
        self._plain = without_control(spec, self._control)
        self._bytes = byte_table(spec, self._control)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, reserved: int = RESERVED) -> Self:
        """Learn merges from `texts` (control names in them are skipped).

        `vocab_size` counts the `reserved` control tokens and 256 bytes; a corpus without enough repeated pairs gives a
        smaller vocabulary. Raises ValueError when `vocab_size` cannot hold the control tokens and the bytes.
        """
        block = control_block(reserved)
        if vocab_size < reserved + NUM_BYTES:
            raise ValueError(f"vocab_size={vocab_size} is too small: use at least {reserved} + {NUM_BYTES}")
        learned = tokenizers.Tokenizer(models.BPE())
        learned.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(tokenizers.Regex(SPLIT), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        learned.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - reserved,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        learned.train_from_iterator(_training_text(texts), trainer)
        return cls(with_control(json.loads(learned.to_str()), block))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a `tokenizer.json` or a folder holding one, with the chat template beside it when there is one."""
        path = Path(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no tokenizer here; give a tokenizer.json or a folder with one")
        try:
            spec = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file}: not valid JSON ({error})") from error
        if not isinstance(spec, dict):
            raise ValueError(f"{file}: a tokenizer.json is a JSON object, this is a {type(spec).__name__}")
        return cls(spec, stored_template(file.parent), str(file))

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`, as transformers reads them."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        special = {"bos_token": NAMES[BOS], "eos_token": NAMES[EOS], "pad_token": NAMES[UNK], "unk_token": NAMES[UNK]}
        config = {
            **special,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_max_length": 262144,
            "chat_template": self.chat_template,
        }
        files = {"tokenizer.json": self._spec, "tokenizer_config.json": config, "special_tokens_map.json": special}
        for name, content in files.items():
            text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
            (folder / name).write_text(text, encoding="utf-8")

    @property
    def vocab_size(self) -> int:
        """One more than the highest id."""
        return len(self._bytes)

    def control_id(self, name: str) -> int:
        """The id of a control token such as `<|im_end|>`; KeyError when there is none of that name."""
        return self._control[name]

    def encode(self, text: str, allow_special: bool = True) -> list[int]:
        """Ids of `text`; control names become control tokens unless `allow_special` is False. No BOS is added."""
        if not allow_special:
            return self._encode_plain(text)
        parts = self._control_pattern.split(text)
        return self.encode_pieces((part, index % 2 == 1) for index, part in enumerate(parts))

    def encode_pieces(self, pieces: Iterable[tuple[str, bool]]) -> list[int]:
        """Ids of (text, is control token) pieces, as `Rendered.pieces` gives them.

        Raises ValueError when a piece marked as control token is not one of this tokenizer.
        """
        ids: list[int] = []
        run: list[str] = []
        for text, control in pieces:
            if not control:
                run.append(text)
                continue
            if text not in self._control:
                raise ValueError(f"{text!r} is not a control token of this tokenizer")
            ids += self._encode_plain("".join(run))
            ids.append(self._control[text])
            run.clear()
        return ids + self._encode_plain("".join(run))

    def decode(self, ids: Sequence[int], skip_special: bool = False, *, sampled: bool = False) -> str:
        """Text of `ids`; bytes that are not UTF-8 become U+FFFD. `skip_special` drops special tokens, not tags."""
        return b"".join(self.token_bytes(i, skip_special, sampled=sampled) for i in ids).decode(errors="replace")

    def token_bytes(self, token: int, skip_special: bool = False, *, sampled: bool = False) -> bytes:
        """The bytes one id stands for. Raises ValueError for an id outside the vocabulary.

        With `sampled` an id beyond it is U+FFFD: a model may have more ids than its tokenizer names, and draw them.
        """
        if sampled and token >= len(self._bytes):
            return _NAMELESS
        if not 0 <= token < len(self._bytes):
            raise ValueError(f"token id {token} is outside the vocabulary of {len(self._bytes)}")
        return b"" if skip_special and token in self._special else self._bytes[token]

    def _encode_plain(self, text: str) -> list[int]:
        return self._plain.encode(valid_unicode(text), add_special_tokens=False).ids if text else []


class StreamDecoder:
    """Decodes sampled ids one at a time and gives out text only once its characters are complete."""

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = False):
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The text that became complete with this token, possibly empty."""
        return self._utf8.decode(self._tokenizer.token_bytes(token, self._skip_special, sampled=True))

    def flush(self) -> str:
        """What is left at the end: U+FFFD for a character that never became complete, else nothing."""
        return self._utf8.decode(b"", final=True)


def _training_text(texts: Iterable[str]) -> Iterator[str]:
    return (piece for text in texts for piece, control in split_control(valid_unicode(text)) if not control)
