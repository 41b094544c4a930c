"""Text and ids with the tokenizers of GGUF files, beyond what the contract asks of every engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from localprobe.errors import UsageError
from localprobe.gguf import read_header
from localprobe.testing.tiny import tiny_gguf

pytest.importorskip("llama_cpp")

import llama_cpp

from localprobe_llama.tokens import Vocabulary
from tests.backends.llama_models import changed, load
from tests.bundled import smollm2

PIECES = ["▁", "▁the", "▁cat", "c", "a", "t", "h", "e", "s", "▁a", "at", "cat", "th", "the", "▁c", "▁t"]


@pytest.fixture(scope="module")
def sentencepiece(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vocabulary]:
    """A vocabulary of SentencePiece's kind: a space before every text, bytes for what it lacks, a BOS and an EOS."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *PIECES]
    kind = gguf.TokenType
    kinds = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL, *[kind.BYTE] * 256, *[kind.NORMAL] * len(PIECES)]
    path = tmp_path_factory.mktemp("spm") / "spm.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(8)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-float(n) for n in range(len(PIECES))])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    yield Vocabulary(llama_cpp.llama_model_get_vocab(model))
    llama_cpp.llama_model_free(model)


@pytest.mark.parametrize("text", ["the cat", " the cat", "  cats", "at", "é 猫", "a\n\tb", "", "x" * 300])
def test_sentencepiece_puts_a_space_before_a_text_and_takes_it_off(sentencepiece: Vocabulary, text: str) -> None:
    ids = sentencepiece.encode(text, template=False)
    assert ids[0] == 1
    assert 2 not in ids  # no EOS, though this model asks for one
    assert sentencepiece.decode(ids) == text
    assert sentencepiece.decode(ids[1:]) == text


def test_sentencepiece_words_after_the_first_keep_their_space(sentencepiece: Vocabulary) -> None:
    assert sentencepiece.encode("the cat", template=False).tolist() == [1, 260, 261]
    assert sentencepiece.decode([260, 261]) == "the cat"
    assert sentencepiece.decode([1, 260, 2, 261]) == "the cat"


def test_a_template_gets_neither_bos_nor_eos_of_its_own(sentencepiece: Vocabulary) -> None:
    assert sentencepiece.encode("<s>the cat</s>", template=True).tolist() == [1, 260, 261, 2]
    assert 1 not in sentencepiece.encode("<s>the", template=False)[1:]


@pytest.mark.real
@pytest.mark.parametrize("text", ["a\0b\0", "\0", "word " * 20_000, "\ud800 half a pair", "don ' t , you ' re ? n't !"])
def test_odd_texts_come_back(text: str) -> None:
    engine = load(smollm2())
    assert engine.decode(engine.encode(text)) == text.encode("utf-8", "replace").decode()
    engine.close()


def test_ids_out_of_range_are_an_error_and_no_abort(tmp_path: Path) -> None:
    engine = load(tiny_gguf("llama", tmp_path / "tiny.gguf"))
    for token in (-1, engine.info.vocabulary, 2**31 - 1):
        with pytest.raises(UsageError, match=f"token id {token} is out of range"):
            engine.decode(np.array([1, token], np.int32))
    engine.close()


def test_a_character_that_a_vocabulary_without_bytes_lacks_is_refused(tmp_path: Path) -> None:
    """llama.cpp aborts on it: it looks for the tokens of its bytes."""
    source = tiny_gguf("llama", tmp_path / "bytes.gguf")
    tokens = [token.replace("Ġ", "▁") for token in read_header(source).texts("tokenizer.ggml.tokens") or []]
    metadata = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens}
    engine = load(changed(source, tmp_path / "letters.gguf", metadata))
    assert len(engine.encode("a cat")) > 2
    with pytest.raises(UsageError, match="this model has no token for '語' nor for its bytes: leave it"):
        engine.encode("a 語")
    engine.close()
