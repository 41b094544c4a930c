"""What a user is told before a probe is fitted: how this model reads the texts."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest

from localprobe.chat_template import Marked
from localprobe.contrast.pairs import Pair
from localprobe.errors import DataWarning, UsageError
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.probing.config import ProbeConfig
from localprobe.probing.fit import fit
from localprobe.probing.notices import notices, other_template
from localprobe.probing.texts import ProbeTexts
from localprobe.probing.validate import texts_for, validate
from localprobe.vectors.vector import Origin

CONFIG = ProbeConfig(pooling="mean", test_fraction=0)
MARKED = [
    Pair("<|im_start|>user\nBe kind<|im_end|>", "<|im_start|>user\nBe cruel<|im_end|>", line=2),
    Pair("I care.", "Go away.", line=3),
    Pair("I do care.", "Do go away.<|eos|>", line=5),
]
THINKS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<A>{{ m.content.split('</think>')[-1].strip() }}"
    "{% else %}<U>{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<A><think>{% endif %}"
)


def texts_of(pairs: list[Pair], **choices: object) -> ProbeTexts:
    return ProbeTexts.of(pairs, "kindness", replace(CONFIG, **choices), validate=False)  # type: ignore[arg-type]


def test_special_tokens_that_are_read_as_characters_are_named_with_their_lines() -> None:
    assert [*notices(FakeEngine().info, texts_of(MARKED))] == [
        "<|im_start|>, <|im_end|>, <|eos|> in lines 2, 5 are read as characters: give `special_tokens` to read special "
        "tokens as tokens"
    ]
    assert not [*notices(FakeEngine().info, texts_of(MARKED[1:2]))]


def test_no_option_is_advised_that_is_refused_with_pooling_answer() -> None:
    asked = [replace(pair, metadata={"prompt": "Well?"}) for pair in MARKED]
    told = [*notices(FakeEngine().info, texts_of(asked, pooling="answer"))]
    assert told[0].endswith("in lines 2, 5 are read as characters: take them out of answers")


def test_special_tokens_are_read_as_tokens_if_that_is_asked_for() -> None:
    texts = texts_of(MARKED, special_tokens=True)
    assert not [*notices(FakeEngine().info, texts)]
    assert texts.all[0] == Marked(MARKED[0].positive)


def test_a_fit_warns_and_its_vector_says_how_special_tokens_were_read() -> None:
    model = Model(FakeEngine())
    with pytest.warns(DataWarning, match="are read as characters"):
        plain = fit(model, MARKED, CONFIG, concept="kindness", validate=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = fit(model, MARKED, replace(CONFIG, special_tokens=True), concept="kindness", validate=False)
    assert (plain.vector.origin.special_tokens, read.vector.origin.special_tokens) == (False, True)
    others = [Pair("Yes, dear.", "No.", line=1), Pair("Dear me.", "Get out.", line=2)]
    assert texts_for(read.vector, others).config.special_tokens


def test_special_tokens_and_answers_in_a_chat_do_not_go_together() -> None:
    with pytest.raises(UsageError, match="`special_tokens` is for texts of their own"):
        ProbeConfig(pooling="answer", special_tokens=True)


def test_answers_that_the_template_rewrites_or_strips_are_counted() -> None:
    pairs = [
        Pair("Yes.", "No.", metadata={"prompt": "Well?"}, line=1),
        Pair(" Yes.", "Hm</think>No.", metadata={"prompt": "Well?"}, line=2),
    ]
    info = replace(FakeEngine().info, chat_template=THINKS)
    rewritten, stripped = notices(info, texts_of(pairs, pooling="answer"))
    assert rewritten.startswith("the chat template of fake rewrites 1 of 4 answers")
    assert stripped.startswith("the chat template of fake strips the spaces around 1 of 4 answers")


def test_a_probe_of_answers_is_told_from_one_in_another_chat() -> None:
    engine = FakeEngine()
    answers = replace(CONFIG, pooling="answer")
    own = Origin.of(engine.info, method="mean-difference", pooling="answer")
    assert not other_template(engine.info, own)
    asked = replace(engine.info, template_args=("enable_thinking=false",))
    assert "other template arguments, than fake has now" in other_template(asked, own)
    assert not other_template(asked, replace(own, pooling="mean"))  # reads texts alone
    assert not other_template(asked, replace(own, template=""))  # does not say

    asked_for = [replace(pair, negative=pair.negative.removesuffix("<|eos|>")) for pair in MARKED[1:]]
    asked_for = [replace(pair, metadata={"prompt": "How are you?"}) for pair in asked_for]
    read = fit(Model(engine), asked_for, answers, concept="kindness", validate=False)
    engine.info = asked
    prompt = {"prompt": "And you?"}
    others = [Pair("Yes, dear.", "No.", metadata=prompt), Pair("Dear me.", "Get out.", metadata=prompt)]
    texts = texts_for(read.vector, others, config=replace(answers, permutations=1, resamples=10, random_directions=2))
    with pytest.warns(DataWarning, match="within another chat template"):
        validate(Model(engine), read.vector, texts)
