"""What a calibration reads: token ids, text and chats from a file, or text the model draws itself."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from model.chat import render
from model.quantise.samples import own_samples, read_samples
from model.tokenizer import Tokenizer

MESSAGES = [{"role": "user", "content": "two and two"}, {"role": "assistant", "content": "four"}]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    Tokenizer.train(["two and two is four"] * 4, vocab_size=280).save(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def written(tmp_path: Path, *lines: object) -> Path:
    file = tmp_path / "samples.jsonl"
    file.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return file


def test_three_kinds_of_line(tmp_path: Path, checkpoint: Path) -> None:
    file = written(
        tmp_path, {"token_ids": [5, 6], "loss_mask": [0, 1]}, "\n", {"text": "two is four"}, {"messages": MESSAGES}
    )
    ids, text, chat = read_samples(file, checkpoint)
    tokenizer = Tokenizer.load(checkpoint)
    assert ids == [5, 6]
    assert tokenizer.decode(text) == "two is four"
    assert tokenizer.decode(chat) == render(MESSAGES, add_generation_prompt=False).text


def test_limits_on_lines_and_tokens(tmp_path: Path, checkpoint: Path) -> None:
    file = written(tmp_path, *({"token_ids": [i] * 9} for i in range(4)))
    assert list(read_samples(file, checkpoint, limit=2, max_tokens=3)) == [[0] * 3, [1] * 3]


def test_token_ids_need_no_tokenizer_and_text_does(tmp_path: Path) -> None:
    assert list(read_samples(written(tmp_path, {"token_ids": [1]}), tmp_path)) == [[1]]
    with pytest.raises(FileNotFoundError, match="no tokenizer here"):
        list(read_samples(written(tmp_path, {"text": "hello"}), tmp_path))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{nonsense\n", "line 2: not valid JSON"),
        ("[1, 2]\n", "line 2: a sample has token_ids, text or messages"),
        ({"tokens": [1]}, "line 2: a sample has token_ids, text or messages"),
        ({"token_ids": []}, "line 2: token_ids must be a list of at least one whole number"),
        ({"token_ids": [1, True]}, "line 2: token_ids must be"),
        ({"token_ids": "12"}, "line 2: token_ids must be"),
        ({"text": 3}, "line 2: text must be a string"),
        ({"text": ""}, "line 2: the sample is empty"),
        ({"messages": []}, "line 2: messages is empty"),
        ({"messages": [3]}, "line 2: "),
    ],
)
def test_lines_that_cannot_be_read_are_named(tmp_path: Path, checkpoint: Path, line: object, told: str) -> None:
    with pytest.raises(ValueError, match=f"samples.jsonl, {told}"):
        list(read_samples(written(tmp_path, {"token_ids": [1]}, line), checkpoint))


def test_an_empty_file_is_an_error(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="has no samples"):
        list(read_samples(written(tmp_path, "\n\n"), checkpoint))


def test_the_models_own_text(model) -> None:
    drawn = own_samples(model.train(), 35, 6, seed=1)
    assert len(drawn) == 35 and all(len(sample) == 6 and sample[0] == 1 for sample in drawn)
    assert drawn == own_samples(model, 35, 6, seed=1) != own_samples(model, 35, 6, seed=2)
    assert model.training


def test_the_models_own_text_follows_its_probabilities(small) -> None:
    model = small(hybrid_override_pattern="M")
    with torch.no_grad():
        model.lm_head.weight.zero_()
    many = Counter(sample[1] for sample in own_samples(model, 480, 2))
    assert len(many) > 40, "even over 48 tokens"
    with torch.no_grad():
        # Every hidden state has the same length, so some row beats all others by far.
        hidden = model(torch.tensor([1]), torch.tensor([0, 1]))[0]
        model.lm_head.weight[7] = 100 * hidden / hidden.norm()
    assert {sample[1] for sample in own_samples(model, 40, 2)} == {7}
