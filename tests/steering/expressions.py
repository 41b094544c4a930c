"""Expressions of every form, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from localprobe.steering.expression import (
    Bound,
    Condition,
    Expression,
    Gate,
    PromptGate,
    TermExpression,
    TokenGate,
)
from localprobe.steering.lexer import LARGEST, RESERVED
from localprobe.steering.places import ALL, MOST_LAYERS, OWN, Layers, Positions

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1.0, -1.5, 0.2, 1e300, 5e-324])
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: bool(text.strip()))
names = (
    st.from_regex(r"[a-z_]{1,8}([.-][a-z0-9]{1,4})?", fullmatch=True)
    | st.sampled_from([*sorted(RESERVED), "./a/b.safetensors", "~/x.gguf", "a@b", "kind + warm", "2nd", 'a "b"', "nan"])
    | texts
)
_layer = st.integers(0, MOST_LAYERS - 1)
_count = st.integers(1, 40) | st.integers(1, LARGEST)
layers = (
    st.sampled_from([OWN, ALL])
    | st.lists(_layer, min_size=1, max_size=4, unique=True).map(lambda chosen: Layers(tuple(chosen)))
    | st.tuples(_layer, st.integers(1, 30)).map(lambda run: Layers(tuple(range(run[0], min(sum(run), MOST_LAYERS)))))
)
bounds = st.builds(Bound, numbers) | st.floats(1e-6, 1, exclude_max=True).map(lambda fpr: Bound(fpr=fpr))


@st.composite
def places(draw: st.DrawFn) -> Positions:
    """Positions of every kind."""
    outside = draw(st.booleans())
    first, length = draw(st.integers(-50, 50)), draw(_count)
    stop = min(first + length, LARGEST) if first >= 0 or first + length < 0 else None
    sliced = st.sampled_from([(first, stop), (first, None), (None, length), (None, -length), (None, None)])
    match draw(st.sampled_from(["all", "prompt", "response", "first", "last", "positions", "on"])):
        case "first":
            return Positions("first", stop=length, outside_thinking=outside)
        case "last":
            return Positions("last", first=-length, outside_thinking=outside)
        case "positions":
            return Positions("positions", *draw(sliced), outside_thinking=outside)
        case "on":
            return Positions("on", text=draw(texts), outside_thinking=outside)
        case plain:
            return Positions(plain, outside_thinking=outside)  # type: ignore[arg-type]


conditions = st.builds(Condition, names, st.none() | _layer, st.booleans(), bounds)


@st.composite
def gates(draw: st.DrawFn) -> Gate:
    """A gate; where it has a second bound, on the side where the gate stays open."""
    condition = draw(conditions)
    if draw(st.booleans()):
        return PromptGate(condition)
    until = draw(st.none() | bounds)
    if until and (until.above(condition.bound) if condition.above else condition.bound.above(until)):
        until = condition.bound
    return TokenGate(condition, until)


@st.composite
def terms(draw: st.DrawFn) -> TermExpression:
    """A term of every operator."""
    chosen = draw(layers)
    where = {
        "layers": chosen,
        "source": draw(st.none() | _layer) if chosen else None,
        "positions": draw(places()),
        "tokens": draw(st.none() | _count),
        "gates": tuple(draw(st.lists(gates(), max_size=3))),
    }
    match draw(st.sampled_from(["dose", "alpha", "ablate", "cap", "set"])):
        case "ablate":
            share, target = draw(st.floats(0, 1)), draw(st.just("mean") | numbers)
            vectors = tuple(draw(st.lists(names, min_size=1, max_size=3, unique=True)))
            return TermExpression("ablate", share, "share", vectors, target=target, **where)  # type: ignore[arg-type]
        case "cap":
            low, high = draw(st.tuples(bounds, bounds))
            if low.above(high):
                low, high = high, low
            low, high = draw(st.sampled_from([(low, high), (low, None), (None, high)]))
            return TermExpression("cap", 1.0, "share", (draw(names),), low=low, high=high, **where)  # type: ignore[arg-type]
        case "set":
            held = Bound(draw(numbers))
            return TermExpression("cap", 1.0, "share", (draw(names),), low=held, high=held, **where)  # type: ignore[arg-type]
        case unit:
            keep = draw(st.booleans())
            return TermExpression("add", draw(numbers), unit, (draw(names),), keep, **where)  # type: ignore[arg-type]


expressions = st.lists(terms(), min_size=1, max_size=4).map(lambda listed: Expression(tuple(listed)))
