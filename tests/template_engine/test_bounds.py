"""A template that nobody vouches for: whatever it does, it gives a text or one error, and stops soon."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from localprobe.errors import UsageError
from localprobe.template_engine import TemplateFailed, render_template

HI = [{"role": "user", "content": "Hi"}]

ENDLESS = "takes more steps"
LARGE = "far larger than this conversation"
LOOP = "{%% for i in range(100000) %%}%s{%% endfor %%}"


def failure(template: str, **variables: Any) -> str:
    with pytest.raises(TemplateFailed) as raised:
        render_template(template, {"messages": HI, **variables})
    text = str(raised.value)
    assert text.isprintable()
    assert len(text) < 400
    return text


def growing(start: str, step: str, end: str = "") -> str:
    """A template that does one step a hundred times."""
    return (
        f"{{% set ns = namespace(x={start}) %}}{{% for i in range(100) %}}{{% set ns.x = {step} %}}{{% endfor %}}{end}"
    )


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ 1/0 }}", "fails on this conversation: ZeroDivisionError: division by zero"),
        ("{% include 'other' %}", "no loader"),
        ("{% import 'other' as o %}", "no loader"),
        ("{% extends 'other' %}", "no loader"),
        ("{{ messages[0].thought.text }}", "has no attribute 'thought'"),
        ("{{ 'a' + 1 }}", "TypeError"),
        ("{{ {[1]: 2} }}", "unhashable"),
        ("{{ namespace | tojson }}", "not JSON serializable"),
        ("{{ raise_exception('two\nlines \x1b]0;title\x07') }}", "refuses this conversation: two lines ]0;title"),
        ("{{ raise_exception('long ' * 1000) }}", r"long long lo?n?g? ?\.\.\."),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% set ns = namespace(_x=1) %}", "private"),
        ("{{ (1).to_bytes(1000000000) }}", "int.to_bytes, which chat templates have no use for"),
        ("{{ ([1] | map('string')).close() }}", "generator.close"),
        ("{{ messages.append(1) }}", "unsafe"),
    ],
)
def test_what_goes_wrong_in_a_template_is_one_line(template: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        render_template(template, {"messages": HI})
    assert failure(template)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for m in %}", r"Expected an expression, got 'end of statement block' \(line 1\)"),
        ("\n{% endif %}", r"Encountered unknown tag 'endif'\. \(line 2\)"),
        ("{{ [1, 2] | random }}", "No filter named 'random'"),
        (f"{{{{ {'(' * 10_000}1{')' * 10_000} }}}}", "nested too deep"),
        (f"{{{{ {'[' * 10_000}{']' * 10_000} }}}}", "nested too deep"),
        (f"{{{{ {' + '.join('1' * 10_000)} }}}}", "nested too deep"),
        ("{% if 1 %}" * 3000 + "{% endif %}" * 3000, "nested too deep"),
        ("{% for x in [1] %}" * 40 + "{% endfor %}" * 40, "too many statically nested blocks"),
        ("{{ a }} " * 15_000, "it has 30,002 parts, where the limit is 20,000"),
        ("x" * 200_000, "it has 200,000 characters, where the limit is 131,072"),
        (f"{{{{ {'9' * 10_000} }}}}", "Exceeds the limit"),
        (f"{{{{ {2**61 * 2**61} }}}}", "more than 64 bits"),
        ("{% break %}", "outside loop"),
    ],
)
def test_what_cannot_be_read_is_one_line(template: str, words: str) -> None:
    with pytest.raises(UsageError, match=f"^cannot be read: .*({words})"):
        render_template(template, {"messages": HI})
    assert failure(template)


@pytest.mark.parametrize(
    "template",
    [
        LOOP % (LOOP % ""),
        "{% for i in range(100000) %}{% for j in range(100000) if j < 0 %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(45) }}",
        "{% set a = 'x' * 4000000 %}{% set b = 'x' * 4000000 %}" + LOOP % "{{ a == b }}",
        "{% set a = 'a' * 2000000 %}" + LOOP % "{{ 'aaaab' in a }}",
        "{% set a = 'a' * 2000000 %}" + LOOP % "{{ 'aaaab' is in a }}",
        "{% set a = 'a' * 2000000 %}{{ a.rfind('b' ~ 'a' * 1000000) }}",
        "{% set a = 'a' * 1000000 %}{{ a.strip('b' * 1000000 ~ 'a') }}",
        "{% set a = 'a' * 1000000 %}{{ a | trim('b' * 1000000 ~ 'a') }}",
        "{% set a = 'a b ' * 100000 %}" + LOOP % "{{ a | title | length }}",
        LOOP % "{{ range(100000) | select('string') | list }}",
        LOOP % "{{ range(100000) | reject | list }}",
        LOOP % "{{ range(100000) | sum }}",
        LOOP % "{{ range(100000) | min(attribute='real') }}",
        LOOP % "{{ range(100000) | map('string') | list | length }}",
        LOOP % "{{ range(1000) | groupby('real') | list }}",
        LOOP % "{{ messages | tojson(indent=2) | length }}",
        "{{ [1] | slice(1000000000) | list }}",
        growing("1", "namespace(a=ns.x, b=ns.x)", "{{ ns.x }}"),
        "{% for c in 'x' * 4000000 %}{{ c }}{% endfor %}",
    ],
)
def test_work_without_end_is_stopped(template: str) -> None:
    assert ENDLESS in failure(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 1000000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%.1000000000f' | format(1.5) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{a:>1000000000}'.format_map({'a': 1}) }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ 'a'.center(1000000000) }}",
        "{{ 'a'.zfill(1000000000) }}",
        "{{ ('a\n' * 1000) | indent(1000000000) }}",
        "{{ ('a\n' * 100000) | indent('x' * 1000) }}",
        "{{ ['a'] | batch(1000000000, 'x') | list }}",
        "{{ range(1000) | join('x' * 100000) }}",
        "{{ ('x' * 100000).join(['a'] * 100000) }}",
        "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
        "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
        "{{ ('a' * 4000000) | list }}",
        growing("'ab'", "ns.x + ns.x"),
        growing("'ab'", "[ns.x, ns.x] | join"),
        growing("'ab'", "'%s%s' % (ns.x, ns.x)"),
        growing("[1]", "[ns.x, ns.x]", "{{ ns.x }}"),
        growing("(1,)", "(ns.x, ns.x)", "{{ {ns.x: 1} }}"),
        growing("{}", "dict(a=ns.x, b=ns.x)", "{{ ns.x | tojson }}"),
        growing("[1]", "ns.x + ns.x"),
        "{% macro f(n) %}{% if n %}{{ f(n - 1, varargs, varargs) }}{% endif %}{% endmacro %}{{ f(45, 1) }}",
        "{% set a = 'x' * 1000000 %}{% for i in range(20) %}{{ a }}{% endfor %}",
        "{% set a %}{% for i in range(200) %}{{ 'x' * 100000 }}{% endfor %}{% endset %}",
        "{% autoescape true %}{{ '<' * 4000000 }}{% endautoescape %}",
        "{{ [[1]] | tojson(indent=1000000000) }}",
        "{{ [[1]] | tojson(indent='x' * 4000000) }}",
        "{{ range(1000) | list | tojson(separators=('x' * 100000, ':')) }}",
    ],
)
def test_a_value_far_larger_than_the_conversation_is_refused_before_it_is_made(template: str) -> None:
    assert failure(template).startswith("was stopped: it ")
    assert LARGE in failure(template) or "uses more memory" in failure(template)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls itself without end"),
        ("{% block a %}{{ self.a() }}{% endblock %}", "calls itself without end"),
        ("{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}", "calls itself without end"),
        (growing("[]", "[[[[[[[[[[[[[[[[[[[[ns.x]]]]]]]]]]]]]]]]]]]]", "{{ ns.x }}"), "nests values, without end"),
        ("{{ 10 ** 10 ** 10 }}", "numbers grow without bound"),
        ("{{ ('f' * 100) | int(base=16) }}", "numbers grow without bound"),
        ("{{ 1.5 | round(1000000000) }}", "numbers grow without bound"),
        ("{{ '%*d' % (1000000000, 1) }}", "width of a field from a value"),
        ("{{ '{:{w}}'.format(1, w=1000000000) }}", "width of a field from a value"),
        ("{{ strftime_now('%c' * 1000) }}", "date of more than 200 characters"),
        (growing("[]", "ns.x + ['x' * 1000000 ~ i]"), "uses more memory|" + LARGE),
    ],
)
def test_other_ways_to_run_away(template: str, words: str) -> None:
    with pytest.raises(TemplateFailed, match=f"^was stopped: .*({words})"):
        render_template(template, {"messages": HI})


def test_a_range_is_as_long_as_in_jinjas_sandbox() -> None:
    assert "Range too big" in failure("{{ range(10 ** 9) }}")


def test_a_long_conversation_may_use_more() -> None:
    template = "{% for m in messages %}{{ m.content | trim ~ '|' ~ m.content.replace(' ', '_') }}{% endfor %}"
    content = "word " * 50_000
    text = render_template(template, {"messages": [{"role": "user", "content": content}] * 8})
    assert text == (content.strip() + "|" + content.replace(" ", "_")) * 8


def test_values_that_are_nested_without_end_are_one_line() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert "nests values, without end" in failure("{{ messages }}", tools=deep)


def test_a_failure_leaves_nothing_behind() -> None:
    limit = sys.getrecursionlimit()
    assert ENDLESS in failure(LOOP % (LOOP % ""))
    assert "calls itself" in failure("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}")
    assert sys.getrecursionlimit() == limit
    assert render_template("{{ messages[0].content }}", {"messages": HI}) == "Hi"


def test_threads_have_budgets_of_their_own() -> None:
    templates = ["{{ messages[0].content }}", LOOP % (LOOP % "")] * 4

    def outcome(template: str) -> str:
        try:
            return render_template(template, {"messages": HI})
        except TemplateFailed as error:
            return str(error)[:20]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(outcome, templates)) == ["Hi", "was stopped: it take"] * 4


def test_the_same_template_and_messages_have_the_same_outcome_every_time() -> None:
    def longest() -> int:
        """Characters of the longest text that is allowed."""
        found = 0
        for bit in (1 << shift for shift in range(24, -1, -1)):
            try:
                render_template("{{ 'a' * n }}", {"n": found + bit})
                found += bit
            except TemplateFailed:
                pass
        return found

    assert longest() == longest() > 1_000_000


def test_json_is_written_as_in_transformers() -> None:
    value = {"b": ["<é>", 1.5, None, True], "a": {}}
    assert render_template("{{ v | tojson }}", {"v": value}) == json.dumps(value, ensure_ascii=False)
    template = "{{ v | tojson(ensure_ascii=true, indent=4, separators=(', ', '= '), sort_keys=true) }}"
    assert render_template(template, {"v": value}) == json.dumps(
        value, indent=4, separators=(", ", "= "), sort_keys=True
    )


def test_tools_and_documents_are_there_and_none() -> None:
    template = "{{ tools is defined and tools is none }} {{ documents is none }} {{ other is defined }}"
    assert render_template(template, {}) == "True True False"
    assert render_template(template, {"tools": [1]}) == "False True False"
