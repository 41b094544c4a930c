"""Chat templates, rendered in the core."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localprobe.chat_template import Message, render
from localprobe.errors import UsageError
from localprobe.fake import FakeEngine

USER = [Message("user", "Hi")]


def info(template: str | None):  # type: ignore[no-untyped-def]
    return replace(FakeEngine().info, chat_template=template)


def test_a_prompt_ends_where_the_answer_begins(engine: FakeEngine) -> None:
    assert render(engine.info, USER) == "<|bos|><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_an_answer_can_be_continued(engine: FakeEngine) -> None:
    text = render(engine.info, [*USER, Message("assistant", "Hello, I")], answer=False)
    assert text.endswith("<|im_start|>assistant\nHello, I")


def test_a_base_model_has_no_template() -> None:
    with pytest.raises(UsageError, match=r"fake has no chat template: it is a base model; give it a `raw` prompt"):
        render(info(None), USER)


def test_a_system_prompt_that_the_template_refuses_is_put_before_the_users() -> None:
    gemma = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    )
    assert render(info(gemma), [Message("system", "Be brief."), *USER]) == "<user>Be brief.\n\nHi"


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
    assert render(info(template), [Message("user", "<é>")]) == '[{"role": "user", "content": "<é>"}]4'
