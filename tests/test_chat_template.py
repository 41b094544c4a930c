"""Chat templates, rendered in the core."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localprobe.chat_template import Message, render, render_answer, template_key
from localprobe.errors import UsageError
from localprobe.fake import FakeEngine

USER = [Message("user", "Hi")]


def info(template: str | None):  # type: ignore[no-untyped-def]
    return replace(FakeEngine().info, chat_template=template)


def test_a_prompt_ends_where_the_answer_begins(engine: FakeEngine) -> None:
    assert render(engine.info, USER).text == "<|bos|><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_an_answer_can_be_continued(engine: FakeEngine) -> None:
    continued = render_answer(engine.info, [*USER, Message("assistant", "Hello, I")])
    assert continued.rendered.text.endswith("<|im_start|>assistant\nHello, I")
    assert continued.rendered.text[continued.start :] == "Hello, I"
    assert not continued.rewritten


def test_a_base_model_has_no_template() -> None:
    with pytest.raises(UsageError, match=r"fake has no chat template: it is a base model; give it a `raw` prompt"):
        render(info(None), USER)


def test_a_system_prompt_that_the_template_refuses_is_put_before_the_users() -> None:
    gemma = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    )
    assert render(info(gemma), [Message("system", "Be brief."), *USER]).text == "<user>Be brief.\n\nHi"


def test_what_a_template_refuses_is_said_in_its_own_words() -> None:
    with pytest.raises(UsageError, match="roles must alternate"):
        render(info("{{ raise_exception('roles must alternate') }}"), USER)


def test_a_template_runs_in_a_sandbox() -> None:
    escape = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(UsageError, match="refuses this conversation"):
        render(info(escape), USER)


def test_any_error_in_a_template_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"the chat template of fake fails on this conversation: ZeroDivisionError"):
        render(info("{{ 1 / 0 }}"), USER)


def test_a_template_without_end_is_stopped() -> None:
    endless = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
    with pytest.raises(UsageError, match="the chat template of fake was stopped: it takes more steps"):
        render(info(endless), USER)


def test_a_broken_template_is_one_line() -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        render(info("{% for m in %}"), USER)


def test_templates_may_use_what_hugging_face_gives_them() -> None:
    template = "{{ messages | tojson }}{% for m in messages %}{% break %}{% endfor %}{{ strftime_now('%Y') | length }}"
    assert render(info(template), [Message("user", "<é>")]).text == '[{"role": "user", "content": "<é>"}]4'


THINKS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<A>{{ m.content.split('</think>')[-1] }}<E>"
    "{% else %}<U>{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<A><think>\n{% endif %}"
)
CHANNELS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<A>final<M>{{ m.content }}<E>{% else %}<U>{{ m.content }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<A>{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "opening"), [(THINKS, "<U>Hi<A>"), (CHANNELS, "<U>Hi<A>final<M>")], ids=["thought", "channel"]
)
def test_an_answer_stands_where_the_template_puts_it_and_not_in_a_thought(template: str, opening: str) -> None:
    continued = render_answer(info(template), [*USER, Message("assistant", "Hello.")])
    assert continued.rendered.text == f"{opening}Hello."
    assert continued.start == len(opening)
    assert not continued.rewritten


def test_an_answer_with_its_thought_follows_the_prompt_that_the_model_wrote_it_after() -> None:
    said = "I should greet.</think>Hello."
    continued = render_answer(info(THINKS), [*USER, Message("assistant", said)])
    assert continued.rendered.text == f"<U>Hi<A><think>\n{said}"
    assert continued.rewritten


def test_spaces_that_the_template_strips_from_an_answer_are_not_there() -> None:
    strips = CHANNELS.replace("{{ m.content }}<E>", "{{ m.content.strip() }}<E>")
    for template, said in ((strips, "B"), (CHANNELS, " B ")):
        continued = render_answer(info(template), [*USER, Message("assistant", " B ")])
        assert continued.rendered.text[continued.start :] == said


def test_an_answer_that_is_inside_a_mark_is_cut_after_itself() -> None:
    """The text `end` is also in the mark that ends the turn."""
    continued = render_answer(FakeEngine().info, [*USER, Message("assistant", "end")])
    assert continued.rendered.text.endswith("<|im_start|>assistant\nend")


PARTS = (
    "{% for m in messages %}<{{ m.role }}>{% for part in m['content'] %}{% if part['type'] == 'text' %}"
    "{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
)


def test_contents_become_parts_for_a_template_that_shows_only_those() -> None:
    rendered = render(info(PARTS), [Message("system", "Brief."), *USER])
    assert rendered.text == "<system>Brief.<user>Hi"
    assert [rendered.text[a:b] for a, b in rendered.contents] == ["Brief.", "Hi"]


def test_a_template_that_leaves_out_what_the_user_says_is_refused() -> None:
    with pytest.raises(UsageError, match="leaves out what the user says"):
        render(info("<user>{% if add_generation_prompt %}<A>{% endif %}"), USER)


def test_arguments_reach_the_template_as_json_or_text() -> None:
    template = "{{ messages[0].content }} {{ enable_thinking }} {{ budget + 1 }} {{ style }}"
    arguments = ("enable_thinking=false", "budget=3", "style=short and dry")
    assert render(replace(info(template), template_args=arguments), USER).text == "Hi False 4 short and dry"


@pytest.mark.parametrize(
    ("argument", "why"),
    [("thinking", "write NAME=VALUE"), ("a b=1", "write NAME=VALUE"), ("messages=3", "messages comes from the conver")],
)
def test_an_argument_of_another_form_is_refused(argument: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"template argument '{argument}': {why}"):
        render(replace(info("{{ messages[0].content }}"), template_args=(argument,)), USER)


def test_arguments_change_the_key_of_a_template() -> None:
    plain = info("x")
    assert template_key(plain) == "x"
    assert template_key(replace(plain, template_args=("b=1", "a=2"))) == template_key(
        replace(plain, template_args=("a=2", "b=1"))
    )
