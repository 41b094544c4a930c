"""The ids of our tokenizer are llama.cpp's, for every text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.gguf import read_header
from localprobe.gguf.tokenizer import tokenizer, tokenizer_config
from localprobe.gguf.vocabulary import Vocabulary, vocabulary
from tests.gguf.reference import Reference
from tests.gguf.writer import MERGES, tokens, write_sentencepiece, write_vocabulary

TRICKY = [
    "",
    " ",
    "   ",
    "\n",
    "\n\n\n",
    "\t\t",
    " \n \n",
    "\r\n",
    "Hello",
    " Hello",
    "  Hello,  world  ",
    "can't WON'T I'll he'd we're they've I'm it's 's't're",
    "1234567890 12 345 6789 3.14159e-10 ½ ² Ⅷ ٣٤٥ १२३",
    "naïve café cafe\u0301 e\u0301\u0301 Å A\u030a ﬁ \u017f İ ß",
    "👍 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽",
    "日本語のテキスト 你好\uff0c世界\uff01 한국어 مرحبا بالعالم שלום हिन्दी ไทย",
    "\U0001d573\U0001d58a \u200b\u200d\ufeff \u00ad \ufffd \U0010ffff \ue000",
    "\x00\x01\x1f\x7f \x85 \xa0 \u2028 \u3000",
    "def f(x):\n    return x**2  # comment\n\n\nclass A:\n\tpass\n",
    "for(int i=0;i<10;++i){ a[i]+=b->c; } https://www.example.com/a?b=c&d=e#f",
    "<html><body><p>Hi</p></body></html>",
    "a" * 300,
    "ab" * 200,
    "supercalifragilisticexpialidocious" * 5,
    " " * 50 + "x" + "\n" * 50 + "y" + "\t" * 40,
    "!!!???... -----===== ________ ........ 0000000000 hahahaha lalalala aaaa aaaaa",
    "▁ ▁▁▁ Ġ Ċ",
    "<s></s><unk><pad><bos><eos><0x0A><0x41>[PAD12]",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<|endoftext|>",
    "<start_of_turn>user\nhi <end_of_turn>\n<start_of_turn>model\n<unused0>[multimodal]",
    "<|user|>\n hi<|end|>  <|assistant|>",
]
# Unicode newer than Python's own tables is where llama.cpp's and tokenizers' tables differ
letters = st.characters(exclude_categories=["Cs", "Cn"])
texts = st.one_of(
    st.text(letters, max_size=40),
    st.text(st.sampled_from(" \n\t'sdtmrlveaA01-=_.▁é\u0301日👍"), max_size=60),
    st.lists(st.sampled_from([*TRICKY, " ", "\n", "a", "1", "'"]), max_size=4).map("".join).map(lambda t: t[:200]),
    st.tuples(st.sampled_from(" \n\tae0=-_.▁!"), st.integers(1, 70), st.text(max_size=3)).map(
        lambda t: t[0] * t[1] + t[2]
    ),
)


class Both:
    """Our tokenizer and llama.cpp's, of one GGUF."""

    def __init__(self, path: Path) -> None:
        header = read_header(path)
        self.vocabulary: Vocabulary = vocabulary(header)
        self.ours = tokenizer(header, self.vocabulary)
        self.reference = Reference(path, vocab_only=True)

    def check(self, text: str) -> None:
        for special in (False, True):
            self.ours.encode_special_tokens = not special
            assert self.ours.encode(text).ids == self.reference.ids(text, special=special), (text, special)
        plain = self.ours.encode(text, add_special_tokens=False).ids
        assert plain == self.reference.ids(text, special=True, bos=False)


@pytest.fixture(scope="module")
def smol(smollm2: Path) -> Both:
    return Both(smollm2)


@pytest.fixture(scope="module")
def large(gemma: Path) -> Both:
    return Both(gemma)


@pytest.mark.real
def test_smollm2(smol: Both) -> None:
    for text in TRICKY:
        smol.check(text)
        smol.ours.encode_special_tokens = True
        assert smol.ours.decode(smol.ours.encode(text).ids) == text


@pytest.mark.real
@settings(max_examples=300, deadline=None)
@given(texts)
def test_smollm2_on_any_text(smol: Both, text: str) -> None:
    smol.check(text)


@pytest.mark.real
@pytest.mark.slow
def test_gemma(large: Both) -> None:
    for text in TRICKY:
        large.check(text)
        large.ours.encode_special_tokens = True
        decoded = large.ours.decode(large.ours.encode(text).ids)
        assert decoded == text.replace("▁", " ")  # SentencePiece cannot tell them apart


@pytest.mark.real
@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(texts)
def test_gemma_on_any_text(large: Both, text: str) -> None:
    large.check(text)


RUNS = {"▁" * n: -1e9 for n in range(2, 17)}  # one score for all, as in Llama 2
LETTERS = {letter: -100.0 - i for i, letter in enumerate("▁abhlo<|>snd")}
PIECES = RUNS | LETTERS | {"▁a": -1.0, "ab": -2.0, "la": -3.0, "lala": -4.0, "aa": -5.0, "aaa": -6.0, "aba": -7.0}
PHI = PIECES | {"<|end|>": -1000.0, "<|endoftext|>": -1000.0}


@pytest.mark.parametrize("prefix", [True, False])
@settings(max_examples=200, deadline=None)
@given(text=st.text("ab lo\n<s>日▁", max_size=60))
def test_sentencepiece_with_equal_scores(text: str, prefix: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / f"sentencepiece-{prefix}.gguf"
    if not path.exists():
        write_sentencepiece(path, PIECES, prefix=prefix)
    both = Both(path)
    both.check(text)
    both.reference.close()


def test_phi_3_drops_space_after_a_special_token(tmp_path: Path) -> None:
    both = Both(write_sentencepiece(tmp_path / "phi.gguf", PHI, name="Phi-3 mini"))
    for text in ("<|end|>  a", "<|end|>\n a<|end|>", "<|endoftext|> a", "<s> a", "</s> a"):
        both.check(text)
    assert (
        both.ours.encode("<|end|>  ab", add_special_tokens=False).ids
        == both.ours.encode("<|end|>ab", add_special_tokens=False).ids
    )


def test_bos_eos_and_template_of_smollm2(smollm2: Path) -> None:
    header = read_header(smollm2)
    words = vocabulary(header)
    assert (words.bos, words.eos, words.padding, words.unknown) == (1, 2, 2, 0)
    assert words.ends == (2, 0)  # <|im_end|>, <|endoftext|>
    assert not words.add_bos
    config = tokenizer_config(header, words, 8192)
    assert config["eos_token"] == "<|im_end|>"
    assert config["model_max_length"] == 8192
    assert "<|im_start|>assistant" in config["chat_template"]


@pytest.mark.parametrize(("given", "expected"), [(None, True), (True, True), (False, False)])
def test_bos_rule_when_the_file_is_silent(tmp_path: Path, given: bool | None, expected: bool) -> None:
    """llama.cpp's own default: SentencePiece and Llama 3 start with BOS, GPT-2 does not."""
    path = write_sentencepiece(tmp_path / "f.gguf", PIECES)
    header = read_header(path)
    if given is not None:
        header.metadata["tokenizer.ggml.add_bos_token"] = given
    assert vocabulary(header).add_bos is expected
    header.metadata.update({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2"})
    assert vocabulary(header).add_bos is (given or False)


def broken(path: Path, **values: object) -> Vocabulary:
    header = read_header(write_vocabulary(path / "f.gguf", "gpt-2", tokens(), MERGES))
    for key, value in values.items():
        header.metadata[f"tokenizer.ggml.{key}"] = value  # type: ignore[assignment]
    words = vocabulary(header)
    tokenizer(header, words)
    return words


def test_what_is_not_known_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="rule 'tiktok'"):
        broken(tmp_path, pre="tiktok")
    with pytest.raises(UnsupportedModel, match="kind 't5'"):
        broken(tmp_path, model="t5")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tokens", [], "tokens is missing"),
        ("tokens", ["a", "b", "a"], "'a' twice"),
        ("tokens", ["a" * 2000, *tokens()], "more than 1,024 characters"),
        ("token_type", "x", "array of numbers"),
        ("token_type", np.zeros(300), "holds float64, not integers"),
        ("token_type", np.ones(3, np.int32), "has 3 numbers for"),
        ("merges", None, "merges is missing"),
        ("merges", ["t h", "q qq"], "merges 'q qq'"),
        ("merges", ["th"], "merges 'th'"),
        ("merges", [""], "merges ''"),
    ],
)
def test_a_torn_vocabulary(tmp_path: Path, key: str, value: object, message: str) -> None:
    with pytest.raises(CorruptFile, match=message):
        broken(tmp_path, **{key: value})


def test_ids_out_of_range_are_no_ids(tmp_path: Path) -> None:
    assert broken(tmp_path, bos_token_id=10**6, eos_token_id=3).bos is None
