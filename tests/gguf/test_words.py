"""Each rule that cuts words, against llama.cpp on a vocabulary made for it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from localprobe.errors import UnsupportedModel
from localprobe.gguf.words import _BY_NAME, words
from tests.gguf.test_tokenizer import TRICKY, Both
from tests.gguf.writer import MERGES, tokens, write_vocabulary

# tokens that only form if a cut is not made there, so that ids show where words end
TELLING = ["Ġ a", "a 1", "1 2", "12 3", "123 4", ". .", "Ċ Ċ", "Ġ Ċ", "' s", "' S", "a '", ". Ċ", "Ġ .", "a B", "B a"]
TELLING += ["/ /", "Ċ /", ". /", "Ġ 1", "ĉ a", "ĉ ĉ", "- a", "a -", "B B", "a a", "' t", "Ġ Ġ", "1 a", "( a", "Ã ©"]


def texts() -> list[str]:
    chosen = random.Random(0)
    made = ["".join(chosen.choices(" a1.\nB'sSt/\t-(é234日", k=chosen.randint(1, 25))) for _ in range(200)]
    return TRICKY + made


@pytest.mark.parametrize("pre", sorted(_BY_NAME))
def test_words_are_cut_as_llama_cpp_cuts_them(pre: str, tmp_path: Path) -> None:
    merges = [*MERGES, *(merge for merge in TELLING if merge not in MERGES)]
    extra = [merge.replace(" ", "") for merge in merges]
    base = [token for token in tokens() if token not in extra]
    base[-3:-3] = dict.fromkeys(extra)
    both = Both(write_vocabulary(tmp_path / "f.gguf", pre, base, merges))
    for text in texts():
        both.check(text)
    both.reference.close()


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(UnsupportedModel, match="by the rule 'no-such'"):
        words("no-such")
