"""The Jinja environment of chat templates: what transformers gives them, counted."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial, wraps
from types import GeneratorType
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace

from localprobe.template_engine import guards
from localprobe.template_engine.budget import CURRENT, DEPTH, Budget, Exceeded
from localprobe.template_engine.compiler import CountingGenerator

_LONGEST_SOURCE = 128 << 10  # characters; several times the longest public template


class Unreadable(Exception):
    """The source is no template."""


def compiled(source: str) -> Template:
    """The template of a source, kept for the next call. Raises Unreadable."""
    template = _compiled(source)
    if isinstance(template, str):
        raise Unreadable(template)
    return template


@lru_cache(maxsize=16)
def _compiled(source: str) -> Template | str:
    """The template, or why there is none: a source that takes long to refuse is refused once."""
    if len(source) > _LONGEST_SOURCE:
        return f"it has {len(source):,} characters, where the limit is {_LONGEST_SOURCE:,}"
    token = CURRENT.set(Budget({}))  # Jinja computes constants while it compiles
    try:
        return _environment().from_string(source)
    except RecursionError:
        return "it is nested too deep"
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        return f"{error.message}{f' (line {line})' if line else ''}"
    except Exception as error:  # Python's own compiler refuses what Jinja lets pass
        return f"{type(error).__name__}: {error}"
    finally:
        CURRENT.reset(token)


def rendered(template: Template, variables: Mapping[str, Any]) -> str:
    """Text of a template. Raises Exceeded, and whatever the template raises."""
    token = CURRENT.set(Budget(variables))
    try:
        return str(_environment().concat(template.root_render_func(template.new_context(dict(variables)))))
    finally:
        CURRENT.reset(token)


@lru_cache(maxsize=1)
def _environment() -> CountingEnvironment:
    return CountingEnvironment()


class CountingEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which everything is counted that the budget of the rendering must cover."""

    code_generator_class = CountingGenerator
    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols], finalize=self.read
        )
        own = self.filters | {"tojson": _tojson}
        self.filters = {name: _counted(own[name], guard) for name, guard in guards.FILTERS.items()}
        self.tests |= {name: _reading(self.tests[name]) for name in _READING}
        self.globals |= {
            "dict": _Dict(),
            "namespace": _Namespace,
            "raise_exception": _refuse,
            "strftime_now": _strftime_now,
        }
        del self.globals["lipsum"]

    # What the compiled code of a template calls.

    @staticmethod
    def tick(steps: int) -> bool:
        CURRENT.get().spend(steps)
        return True

    @staticmethod
    def read(value: Any) -> Any:
        return CURRENT.get().read(value)

    @staticmethod
    def searched(value: Any) -> Any:
        budget = CURRENT.get()
        budget.search(value, "a mark")
        return budget.read(value)

    @staticmethod
    def made(value: Any) -> Any:
        return CURRENT.get().made(value)

    @staticmethod
    def joined(join: Callable[[Iterable[Any]], str], items: tuple[Any, ...]) -> str:
        budget = CURRENT.get()
        budget.expect(sum(budget.weight(budget.read(item)) for item in items))
        return budget.made(join(items))

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        budget = CURRENT.get()
        pieces = list(pieces)
        budget.expect(sum(map(len, pieces)))
        return budget.made("".join(pieces))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget = CURRENT.get()
        guards.operation(budget, operator, left, right)
        return budget.made(self.binop_table[operator](left, right))

    def getitem(self, obj: Any, argument: Any) -> Any:
        if not isinstance(argument, str | int):
            self.read(argument)  # to find a tuple in a dict, all of it is hashed
        return super().getitem(obj, argument)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def formatted(*values: Any, **named: Any) -> str:
            guards.braces(CURRENT.get(), value.__self__, (*values, *named.values()))
            return wrapped(*values, **named)

        return formatted

    def call(self, context: Context, obj: Any, /, *values: Any, **named: Any) -> Any:
        budget = CURRENT.get()
        budget.spend(20)
        budget.expect(sum(budget.weight(budget.read(value)) for value in values))
        for name, value in named.items():
            if name not in ("_loop_vars", "_block_vars"):  # added by Jinja
                budget.expect(budget.weight(budget.read(value)))
        owner = getattr(obj, "__self__", None)
        if owner is not None and not isinstance(owner, _CALLED):
            values = self._method(budget, owner, obj.__name__, values)
        budget.depth += 1
        if budget.depth > DEPTH:
            raise Exceeded("it calls itself without end")
        result = super().call(context, obj, *values, **named)
        budget.depth -= 1
        return budget.made(result)

    @staticmethod
    def _method(budget: Budget, owner: Any, name: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
        allowed = next((names for kind, names in guards.METHODS.items() if isinstance(owner, kind)), frozenset())
        if name not in allowed:
            raise SecurityError(f"it calls {type(owner).__name__}.{name}, which chat templates have no use for")
        budget.read(owner)
        return guards.method(budget, owner, name, values) if isinstance(owner, str) else values


class _Generation(Extension):
    """`{% generation %}`, the mark that transformers learns from: what stands in it is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012  # as Jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("shown"), [], [], body, lineno=line)

    def shown(self, caller: Macro) -> str:
        return str(caller())


class _Dict:
    """`dict` without the attributes of the type."""

    def __call__(self, *values: Any, **named: Any) -> dict[Any, Any]:
        return dict(*values, **named)


class _Namespace(Namespace):
    """Jinja's namespace, without private names, and counted where it is written out."""

    def __init__(*values: Any, **named: Any) -> None:
        self, values = values[0], values[1:]
        attributes = dict(*values, **named)
        for name in attributes:
            _public(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _public(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        CURRENT.get().spend(50)
        CURRENT.get().read(object.__getattribute__(self, "_Namespace__attrs"))
        return super().__repr__()


_CALLED = (LoopContext, Cycler, Joiner, _Generation)
"""Owners of the methods that Jinja itself gives to templates."""
_WORDS = "in == eq equalto != ne > gt greaterthan ge >= < lt lessthan <= le lower upper"
_READING = frozenset(_WORDS.split())
"""Tests that look at all of a value."""


def _public(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace has no private attributes ({name!r})")


def _counted(function: Callable[..., Any], guard: Callable[..., Any]) -> Callable[..., Any]:
    passed = hasattr(function, "jinja_pass_arg")  # Jinja puts the context, say, before a filter's own arguments

    @wraps(function)
    def counted(*values: Any, **named: Any) -> Any:
        budget = CURRENT.get()
        budget.spend(20)
        if passed:
            result = guard(budget, partial(function, values[0]), *values[1:], **named)
        else:
            result = guard(budget, function, *values, **named)
        return _items(result) if isinstance(result, GeneratorType) else budget.made(result)

    return counted


def _items(generator: Iterator[Any]) -> Iterator[Any]:
    for item in generator:
        budget = CURRENT.get()
        budget.spend(20)
        yield budget.made(item)


def _reading(test: Any) -> Callable[..., Any]:
    @wraps(test)
    def counted(*values: Any) -> Any:
        budget = CURRENT.get()
        budget.spend(10)
        for value in values:
            budget.read(value)
        budget.search(values[-1], "a mark")
        return test(*values)

    return counted


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes < and > for HTML, which no model was trained on.
    budget = CURRENT.get()
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    if indent is None and separators is None:
        return encoder.encode(value)
    budget.expect(1000 * (indent if isinstance(indent, int) else len(indent or "")))  # levels, each with an indent
    size, pieces = 0, []
    for piece in encoder.iterencode(value):
        size += len(piece)
        budget.expect(size)
        pieces.append(piece)
    return "".join(pieces)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    if len(form) > 200:
        raise Exceeded("it writes a date of more than 200 characters")
    return datetime.datetime.now().strftime(form)
