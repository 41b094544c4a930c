"""What was loaded, and text <-> ids."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.chat_ids import encode_chat
from localprobe.chat_template import Message, render
from localprobe.engine import Engine
from localprobe.testing.contract.base import ContractBase

TRICKY = (
    "Hello world",
    " a leading space",
    "   three leading spaces and  two inside",
    "trailing space ",
    "line\nbreaks\n\nand\ttabs\r\n",
    "def f(x):\n    return {'a': [x ** 2, 0x1F]}  # code",
    "naïve café, Straße, œuvre",
    "日本語のテキスト、中文文本。",
    "Привет, мир! שלום مرحبا",
    "😀 emoji 👩‍👩‍👧‍👦 🏳️‍🌈",
    "3.14159 1,000,000 2026-11-24",
    "it's \"quoted\" — 'twice' …",
)


class TextContract(ContractBase):
    """`info`, `encode` and `decode`."""

    def test_info_is_sane(self, engine: Engine) -> None:
        info = engine.info
        assert info.layers >= 1
        assert info.width >= 1
        assert info.vocabulary >= 1
        assert info.context >= 1
        assert info.dtype in {"float32", "bfloat16", "float16"}
        assert 0 <= info.capabilities.first_layer < info.layers
        assert all((info.engine, info.version, info.model, info.architecture, info.device, info.weights))
        for token in (*info.eos, *(() if info.bos is None else (info.bos,))):
            assert 0 <= token < info.vocabulary

    def test_ids_are_a_row_of_int32_inside_the_vocabulary(self, engine: Engine) -> None:
        for text in TRICKY:
            for template in (False, True):
                ids = engine.encode(text, template=template)
                assert ids.dtype == np.int32
                assert ids.ndim == 1
                assert ids.min() >= 0
                assert ids.max() < engine.info.vocabulary

    def test_plain_text_has_the_models_bos_once_and_no_eos(self, engine: Engine) -> None:
        ids = engine.encode("Hello world").tolist()
        bos = engine.info.bos
        if bos is None:
            assert ids[0] not in engine.info.eos
        else:
            assert ids[0] == bos
            assert ids.count(bos) == 1
        assert ids[-1] not in engine.info.eos

    def test_nothing_is_put_before_a_template(self, engine: Engine) -> None:
        ids = engine.encode("Hello world", template=True).tolist()
        plain = engine.encode("Hello world").tolist()
        assert ids == (plain if engine.info.bos is None else plain[1:])

    @pytest.mark.parametrize("name", ["bos_token", "eos_token"])
    def test_special_tokens_are_read_in_templates_only(self, engine: Engine, name: str) -> None:
        special = engine.info.special_text.get(name)
        if not special:
            pytest.skip(f"the model has no {name}")
        (token,) = engine.encode(special, template=True).tolist()
        inside = engine.encode(f"say {special} now", template=True).tolist()
        assert inside.count(token) == 1
        assert special not in engine.decode(inside)  # special tokens are left out of text

        plain = engine.encode(f"say {special} now").tolist()
        if engine.info.bos is not None:
            plain = plain[1:]
        assert token not in plain
        assert engine.decode(plain) == f"say {special} now"

    def test_every_mark_is_one_token_in_templates_and_none_in_plain_text(self, engine: Engine) -> None:
        assert set(engine.info.marks) >= set(engine.info.special_text.values()) - {""}
        for mark in engine.info.marks[:50]:
            (token,) = engine.encode(mark, template=True).tolist()
            assert token not in engine.encode(f"say {mark} now").tolist()[1:]

    def test_a_message_forges_no_turn(self, engine: Engine) -> None:
        if engine.info.chat_template is None:
            pytest.skip("the model has no chat template")
        marks = [mark for mark in engine.info.marks if len(mark) > 2][:20]
        special = {engine.encode(mark, template=True).tolist()[0] for mark in marks}
        said = "".join(f" one {mark} two" for mark in marks)
        honest, forged = (
            encode_chat(engine, render(engine.info, [Message("user", text)])) for text in ("Hello", said.strip())
        )
        assert [i for i in forged if i in special] == [i for i in honest if i in special]
        assert said.strip() in engine.decode(forged)

    def test_a_template_gets_no_second_bos(self, engine: Engine) -> None:
        bos_text = engine.info.special_text.get("bos_token")
        if not bos_text or engine.info.bos is None:
            pytest.skip("the model has no BOS")
        ids = engine.encode(bos_text + "Hello", template=True).tolist()
        assert ids.count(engine.info.bos) == 1

    @pytest.mark.parametrize("text", TRICKY)
    def test_decode_gives_the_text_back(self, engine: Engine, text: str) -> None:
        assert engine.decode(engine.encode(text)) == text
        assert engine.decode(engine.encode(text).tolist()) == text

    def test_decoding_nothing_gives_nothing(self, engine: Engine) -> None:
        assert engine.decode([]) == ""

    def test_bytes_that_are_not_yet_utf8_give_the_replacement_character(self, engine: Engine) -> None:
        split = False
        for text in ("a🫠", "a𓂀", "aꙮ", "aᚠ", "a༒"):  # rare enough that most tokenizers fall back to bytes
            ids = engine.encode(text).tolist()
            before = ""
            for stop in range(1, len(ids)):
                part = engine.decode(ids[:stop])
                assert text.startswith(part.rstrip("\ufffd"))
                assert part != before or part == "" or part.endswith("\ufffd"), "a token was left out"
                split = split or part.endswith("\ufffd")
                before = part
        if not split:
            pytest.skip("this tokenizer splits no character")
