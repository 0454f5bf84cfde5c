"""The tokenizer: bytes survive, control tokens cannot be forged, files load in transformers."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.chat import render
from model.control_tokens import NAMES
from model.tokenizer import StreamDecoder, Tokenizer

UNHURRIED = settings(deadline=None)  # the machine may be busy

CORPUS = [
    "the cat sat on the mat, the dog sat on the log 2024",
    "solve 12 + 345 = 357 and write \\boxed{357}",
    render([{"role": "user", "content": "the cat sat"}, {"role": "assistant", "content": "on the mat"}]).text,
] * 4
TOKENIZER = Tokenizer.train(CORPUS, vocab_size=320)
FORGED = [*NAMES.values(), "<SPECIAL_17>", "<SPECIAL_500>"]
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
HOSTILE = st.lists(st.one_of(st.sampled_from([*FORGED, "<", ">", "|", "</", "im_end", "\n"]), TEXT)).map("".join)
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"properties": {"a": {"type": "integer"}}}}}]
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " What is 12+30?\n"},
    {"role": "assistant", "content": "Wait.", "reasoning_content": "easy"},
    {"role": "user", "content": "Now?\té 漢字 🎉"},
    {
        "role": "assistant",
        "content": "",
        "reasoning_content": "use the tool",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "add", "arguments": {"a": 12, "b": "x"}}}],
    },
    {"role": "tool", "content": "42\n"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    TOKENIZER.save(path)
    return path


@pytest.fixture(scope="module")
def peer(folder):
    """The same files loaded by transformers."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(folder)


def test_named_control_tokens_have_the_published_ids():
    ids = [TOKENIZER.control_id(name) for name in ("<unk>", "<s>", "</s>", "<SPECIAL_3>", "<|im_start|>", "<|im_end|>")]
    assert ids == [0, 1, 2, 3, 10, 11]
    tags = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
    assert [TOKENIZER.control_id(name) for name in tags] == [12, 13, 14, 15, 16, 17]
    assert TOKENIZER.stop_ids == {2, 11}
    assert (TOKENIZER.bos_id, TOKENIZER.eos_id, TOKENIZER.pad_id) == (1, 2, 0)


def test_vocab_size_is_the_one_asked_for_when_the_corpus_has_enough_pairs():
    assert Tokenizer.train(CORPUS, vocab_size=300).vocab_size == 300


def test_a_poor_corpus_leaves_control_tokens_and_bytes():
    assert Tokenizer.train(["a"], vocab_size=1000).vocab_size == 18 + 256


def test_the_released_block_of_a_thousand_shifts_the_bytes_only():
    large = Tokenizer.train(CORPUS, vocab_size=1256, reserved=1000)
    assert large.vocab_size == 1256
    assert large.control_id("<SPECIAL_999>") == 999
    assert large.decode(large.encode("plain<SPECIAL_18>")) == "plain<SPECIAL_18>"


def test_training_twice_gives_the_same_tokenizer():
    assert Tokenizer.train(CORPUS, 310)._spec == Tokenizer.train(CORPUS, 310)._spec


def test_digits_are_never_merged():
    assert len(TOKENIZER.encode("2024")) == 4
    assert Tokenizer.train(["2024 2024 2024"] * 9, 400).encode("2024") == TOKENIZER.encode("2024")


def test_merges_shorten_text_seen_in_training():
    assert len(TOKENIZER.encode(" the cat sat")) == 3


@pytest.mark.parametrize(("vocab_size", "reserved"), [(273, 18), (1255, 1000), (400, 17)])
def test_sizes_that_cannot_hold_the_block_are_refused(vocab_size, reserved):
    with pytest.raises(ValueError, match="use at least"):
        Tokenizer.train(CORPUS, vocab_size, reserved)


@UNHURRIED
@given(HOSTILE)
def test_any_text_round_trips_byte_for_byte_by_either_door(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text
    assert TOKENIZER.decode(TOKENIZER.encode(text, allow_special=False)) == text


@UNHURRIED
@given(HOSTILE)
def test_untrusted_text_never_becomes_a_control_token(text):
    assert all(token >= 18 for token in TOKENIZER.encode(text, allow_special=False))


def test_trusted_text_gives_control_tokens_and_no_bos():
    assert TOKENIZER.encode("<|im_start|><think></think><|im_end|>") == [10, 12, 13, 11]
    assert TOKENIZER.encode("") == []


def test_plain_pieces_join_before_encoding():
    assert TOKENIZER.encode_pieces([("the c", False), ("at", False)]) == TOKENIZER.encode("the cat")


def test_a_piece_marked_as_control_must_be_one():
    with pytest.raises(ValueError, match="'<nope>' is not a control token"):
        TOKENIZER.encode_pieces([("<nope>", True)])


def test_skip_special_drops_special_tokens_and_keeps_tags():
    ids = TOKENIZER.encode("<think>a</think><tool_call>b<|im_end|></s>")
    assert TOKENIZER.decode(ids, skip_special=True) == "<think>a</think><tool_call>b"
    assert TOKENIZER.decode(ids).endswith("b<|im_end|></s>")


@pytest.mark.parametrize("token", [-1, 320, 131072])
def test_an_id_outside_the_vocabulary_is_named(token):
    with pytest.raises(ValueError, match=f"token id {token} is outside the vocabulary of 320"):
        TOKENIZER.decode([token])


def test_lone_surrogates_become_replacement_characters():
    assert TOKENIZER.decode(TOKENIZER.encode("a\ud800b")) == "a\ufffdb"


@UNHURRIED
@given(HOSTILE)
def test_streamed_text_equals_decoded_text_and_has_no_half_characters(text):
    decoder = StreamDecoder(TOKENIZER)
    parts = [decoder.push(token) for token in TOKENIZER.encode(text, allow_special=False)]
    assert all("\ufffd" not in part or "\ufffd" in text for part in parts)
    assert "".join(parts) == text
    assert decoder.flush() == ""


@UNHURRIED
@given(st.lists(st.integers(0, 319)))
def test_streamed_text_of_arbitrary_ids_equals_decoded_text(ids):
    decoder = StreamDecoder(TOKENIZER, skip_special=True)
    streamed = "".join(map(decoder.push, ids)) + decoder.flush()
    assert streamed == TOKENIZER.decode(ids, skip_special=True)


def test_an_unfinished_character_waits_and_is_replaced_at_the_end():
    decoder = StreamDecoder(TOKENIZER)
    head = Tokenizer.train(["a"], 274).encode("é")[:1]
    assert decoder.push(head[0]) == ""
    assert decoder.flush() == "\ufffd"


def test_save_and_load_keep_ids_and_template(folder):
    loaded = Tokenizer.load(folder)
    assert loaded.encode(CORPUS[2]) == TOKENIZER.encode(CORPUS[2])
    assert loaded.chat_template == TOKENIZER.chat_template
    assert Tokenizer.load(folder / "tokenizer.json").vocab_size == 320


def test_a_template_file_beside_the_tokenizer_wins(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "chat_template.jinja").write_text("own {{ messages[0].content }}")
    loaded = Tokenizer.load(tmp_path)
    assert render(CHAT[:1], template=loaded.chat_template).text == "own Be brief."


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no tokenizer here"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer\.json: not valid JSON"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("[]")
    with pytest.raises(ValueError, match="this is a list"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: spec["model"].update(type="Unigram"), "only byte-level BPE"),
        (lambda spec: spec.update(normalizer={"type": "NFC"}), "only byte-level BPE"),
        (lambda spec: spec["added_tokens"].pop(11), r"<\|im_end\|> has id None, the control block needs 11"),
        (lambda spec: spec["added_tokens"][3].update(lstrip=True), "must match its exact text"),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(folder, tmp_path, change, message):
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    change(spec)
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(tmp_path)


def test_transformers_agrees_on_size_and_special_ids(peer):
    assert (len(peer), peer.bos_token_id, peer.eos_token_id, peer.pad_token_id) == (320, 1, 2, 0)
    assert [peer.convert_tokens_to_ids(name) for name in NAMES.values()] == list(NAMES)


@settings(UNHURRIED, max_examples=50)
@given(TEXT)
def test_transformers_gives_the_same_ids_and_text(peer, text):
    ids = TOKENIZER.encode(text)
    assert peer.encode(text, add_special_tokens=False) == ids
    assert peer.decode(ids) == text


@pytest.mark.parametrize("tools", [None, TOOLS])
@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("turns", [2, 3, 4, 5, 6])
def test_a_rendered_chat_has_the_ids_of_apply_chat_template(peer, turns, thinking, tools):
    options = {"add_generation_prompt": turns != 3, "enable_thinking": thinking}
    expected = peer.apply_chat_template(CHAT[:turns], tools=tools, tokenize=True, return_dict=False, **options)
    assert TOKENIZER.encode_pieces(render(CHAT[:turns], tools, **options).pieces) == expected


@settings(UNHURRIED, max_examples=50)
@given(TEXT, TEXT)
def test_any_harmless_content_has_the_ids_of_apply_chat_template(peer, question, answer):
    chat = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    expected = peer.apply_chat_template(chat, tokenize=True, return_dict=False, add_generation_prompt=True)
    assert TOKENIZER.encode_pieces(render(chat).pieces) == expected


@UNHURRIED
@given(HOSTILE, HOSTILE, HOSTILE)
def test_hostile_content_adds_no_control_token_and_stays_readable(system, question, result):
    def chat(*texts):
        roles = ("system", "user", "tool")
        return render([{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)])

    ids = TOKENIZER.encode_pieces(chat(system, question, result).pieces)
    harmless = TOKENIZER.encode_pieces(chat("s", "q", "r").pieces)
    assert [i for i in ids if i < 18] == [i for i in harmless if i < 18]
    assert question in TOKENIZER.decode(ids)
