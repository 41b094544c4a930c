"""Readers of chat templates, and of the frames between an engine's process and its parent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.fuzz import binary
from tests.fuzz.mutations import mutated
from tests.fuzz.registry import Reader, encoded, reader

_TEMPLATES = (
    """{% for m in messages %}<|im_start|>{{ m['role'] }}
{{ m['content'] | trim }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}""",
    """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}
{%- for m in messages -%}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}
{% endif %}{% set role = 'model' if m.role == 'assistant' else m.role %}<start_of_turn>{{ role }}
{{ m.content }}
{%- endfor -%}""",
    """{% macro turn(m) %}[{{ m.role | upper }}] {{ m.content | tojson }}{% endmacro %}{% set ns = namespace(n=0) %}
{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ turn(m) }}{% if not loop.last %}{{ '\\n' }}{% endif %}{% endfor %}
{{ strftime_now('%Y') }}{% if tools %}{{ tools | length }}{% endif %}""",
)
_SNIPPETS = [
    "",
    "{{ 1/0 }}",
    "{% include 'x' %}",
    "{% extends 'x' %}",
    "{% import 'x' as x %}",
    "{{ 'x' * 10**10 }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ 9**999999 }}",
    "{% for i in range(10**9) %}{% endfor %}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ ''.__class__ }}",
    "{{ messages[99] }}",
    "{{ messages[0]['content'].foo.bar }}",
    "{{ '%999999999d' % 1 }}",
    "{{ 'a' | center(999999999) }}",
    "{{ messages | tojson(indent=999999) }}",
    "{{ lipsum(n=9999) }}",
    "{{ cycler() }}",
    "{{ x() }}",
    "{{ [] | first }}",
    "{% break %}",
    "{% generation %}x{% endgeneration %}",
    "{% set x = messages.append(1) %}",
    "{{ 'abc' | replace('', 'x' * 9999) }}",
    "{{ messages | map('upper') | list }}",
    "{{ messages | sort }}",
    "{{ '\\ud800' }}",
    "{{ 'a' | int | batch(0) | list }}",
    "{{ 'x' | round }}",
    "{{ raise_exception() }}",
    "{{ strftime_now() }}",
    "{{ strftime_now(1) }}",
    "{{ 'x'.format(1) }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ range(10**6) | list | length }}",
    "{{ namespace(messages=messages).messages }}",
    "{{ dict(messages) }}",
    "{{ messages[0].content * 99999 }}",
    "{% if %}",
    "{{",
    "}}",
    "",
][1:-1]
_SNIPPETS += ["{{ " + "(" * 3000 + ")" * 3000 + " }}", "{% if 1 %}" * 300, "{{ 1 if 1 else " * 300, "\0", "\ufffd"]


@reader
def template() -> Reader:
    """Chat templates."""
    from localprobe.chat_template import Message, render, render_answer
    from localprobe.fake import FakeEngine

    info = FakeEngine().info
    said = [
        Message("system", "Be brief."),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "And?"),
    ]

    def read(folder: Path, data: bytes) -> None:
        with_template = replace(info, chat_template=data.decode(errors="replace"))
        encoded(render(with_template, said[:2]))
        encoded(render(with_template, said[1:]))
        encoded(render_answer(with_template, said[1:3]))

    sound = [text.encode() for text in _TEMPLATES]
    return Reader(read, sound, mutated(sound, snippets=[text.encode() for text in _SNIPPETS]))


@reader
def wire() -> Reader:
    """Frames between an engine's process and its parent, in both directions. Its errors are its own."""
    import io

    from localprobe.engine import LoadOptions, Output, Prompt, Row, Term, Weights
    from localprobe.fake import FakeEngine
    from localprobe.remote import wire
    from localprobe.remote.session import ANSWERS, QUESTIONS

    types = {f"q{i}": kind for i, kind in enumerate(QUESTIONS.values())} | {
        f"a{i}": k for i, k in enumerate(ANSWERS.values())
    }
    number = {name: f"q{i}" for i, name in enumerate(QUESTIONS)} | {
        f"{name}'": f"a{i}" for i, name in enumerate(ANSWERS)
    }
    delta = np.ones(80, np.float32)
    row = Row(
        np.array([1, 2], np.int32), (Term(1, delta), Term(2, delta)), ((0, 1),), np.array([[0, 1]], np.int32), (0,)
    )
    output = Output(np.ones((1, 2, 3), np.float32), np.ones(1, np.float32), np.ones((1, 5), np.float32))
    values = [
        ("load", ("fake", Weights("fake", Path("x"), "fake", "0"), LoadOptions())),
        ("load'", FakeEngine().info),
        ("encode", (b"text", True)),
        ("forward", ((row, row), (1, 2))),
        ("forward'", [output]),
        ("open", (1, (Prompt(np.array([1], np.int32)),), 8, (), None)),
    ]
    sound = [b"".join(wire.pack(number[name], value, share=True)) for name, value in values]

    def read(folder: Path, data: bytes) -> None:
        frames = wire.FrameReader(io.BufferedReader(io.BytesIO(data)), types)  # type: ignore[arg-type]
        while True:
            frames.receive()

    inputs = mutated(sound) | binary.odd_messages(sound, wire._PREFIX)
    return Reader(read, sound, inputs, (EOFError, wire.FrameError, wire.WrongType))
