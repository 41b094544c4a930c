"""From text to a steering expression, and what an error says."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given, settings

from localprobe.errors import UsageError
from localprobe.steering import parser
from localprobe.steering.expression import Bound, Condition, Expression, PromptGate, TermExpression, TokenGate
from localprobe.steering.lexer import LONGEST
from localprobe.steering.parser import parse
from localprobe.steering.places import ALL, Layers, Positions
from tests.steering.expressions import expressions

PAGE = Path(__file__).parents[2] / "docs" / "steering-language.md"


def only(text: str) -> TermExpression:
    (term,) = parse(text).terms
    return term


def test_a_dose() -> None:
    assert only("0.2 empathy") == TermExpression("add", 0.2, "dose", ("empathy",))


def test_an_alpha_that_keeps_the_norm_on_a_text_for_some_tokens() -> None:
    assert only('alpha 20 empathy keeping norm on "my friend" for 20 tokens') == TermExpression(
        "add", 20, "alpha", ("empathy",), keep_norm=True, positions=Positions("on", text="my friend"), tokens=20
    )


def test_a_gate_on_the_answer() -> None:
    assert only("-0.1 formality @18 response when confident>fpr 0.01") == TermExpression(
        "add",
        -0.1,
        "dose",
        ("formality",),
        layers=Layers((18,)),
        positions=Positions("response"),
        gates=(TokenGate(Condition("confident", None, True, Bound(fpr=0.01))),),
    )


def test_a_gate_on_the_prompt_and_one_with_hysteresis() -> None:
    assert only("0.2 empathy if harmful@12>3.1 when calm < 0.2 until 0.6").gates == (
        PromptGate(Condition("harmful", 12, True, Bound(3.1))),
        TokenGate(Condition("calm", None, False, Bound(0.2)), Bound(0.6)),
    )


def test_an_ablation_of_a_subspace() -> None:
    assert only("ablate 0.5 refusal, hedging to mean @0-29 from 18 outside thinking") == TermExpression(
        "ablate",
        0.5,
        "share",
        ("refusal", "hedging"),
        target="mean",
        layers=Layers(tuple(range(30))),
        source=18,
        positions=Positions(outside_thinking=True),
    )


def test_an_ablation_is_whole_unless_it_says_a_share() -> None:
    assert only("ablate refusal") == TermExpression("ablate", 1, "share", ("refusal",))
    assert only("ablate refusal to -1.5").target == -1.5


def test_a_cap() -> None:
    assert only("cap empathy [-1.5, fpr 0.05] @19 last 4") == TermExpression(
        "cap",
        1,
        "share",
        ("empathy",),
        low=Bound(-1.5),
        high=Bound(fpr=0.05),
        layers=Layers((19,)),
        positions=Positions("last", first=-4),
    )
    assert only("cap empathy<2").high == Bound(2)
    assert only("cap empathy > fpr=0.01").low == Bound(fpr=0.01)


def test_set_is_a_cap_without_room() -> None:
    assert only("set empathy to 2") == only("cap empathy [2, 2]")


@pytest.mark.parametrize("separator", [" + ", "+", ";", " ;\n", "\n", "\r\n", "\n\n# and\n  ", "\n+ ", " +\n", ";;"])
def test_terms_stand_apart(separator: str) -> None:
    assert str(parse(f"0.3 warm{separator}0.2 concise")) == "0.3 warm; 0.2 concise"


@pytest.mark.parametrize(
    "text",
    ["\n 0.2 empathy # much\n", "+0.2 empathy;", "2e-1 empathy", '.2"empathy"all'],
)
def test_blanks_signs_comments_and_quotes_that_mean_nothing(text: str) -> None:
    assert only(text) == only("0.2 empathy")


def test_clauses_come_in_any_order() -> None:
    one = only("0.2 a @all from 3 first 2 outside thinking for 9 tokens when b > 1 if c < 2")
    other = only("0.2 a when b>1 if c<2 for 9 tokens outside thinking first 2 @all from 3")
    assert one == other
    assert one.layers == ALL


def test_a_name_may_be_a_path_or_quoted() -> None:
    assert only("0.2 ./vectors/empathy.safetensors @3").vectors == ("./vectors/empathy.safetensors",)
    assert only('0.2 "kind + warm#1" @3').vectors == ("kind + warm#1",)
    assert only('0.2 "a\\tb\\u00e9"').vectors == ("a\tbé",)


def test_columns_of_terms_vectors_and_probes() -> None:
    text = "0.1 x; ablate warm, cold if calm > 1 when kind@3 < 2"
    _, term = parse(text).terms
    assert text[term.column - 1 :].startswith("ablate")
    assert [text[column - 1 :][:4] for column in term.vector_columns] == ["warm", "cold"]
    assert [text[gate.condition.column - 1 :][:4] for gate in term.gates] == ["calm", "kind"]
    assert parse(text).text == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", '"": no term: write a number and a vector (0.2 empathy), or alpha, ablate, cap or set'),
        ("# nothing", "no term: write"),
        ("0.2", '"0.2": column 4: expected a vector after the number, not the end'),
        ("empathy", "column 1: 'empathy' begins no term: write a number and a vector"),
        ("abalte x", "column 1: 'abalte' begins no term; did you mean 'ablate'?"),
        ("when calm>1", "column 1: 'when' is a clause, and a clause follows a term"),
        ("nan empathy", "column 1: 'nan' is no finite number"),
        ("-inf empathy", "column 1: '-inf' is no finite number"),
        ("1e999 empathy", "column 1: '1e999' is no finite number"),
        ("cap a > inf", "column 9: 'inf' is no finite number"),
        ("- 0.2 a", "column 1: write '-0.2' without a space after the sign"),
        ("0.2 empathy whn calm>1", "\"0.2 empathy whn calm>1\": column 13: 'whn' is no clause; did you mean 'when'?"),
        ("0.2 a bcd", "column 7: 'bcd' is no clause: choose @, all, prompt"),
        ("0.2 a @1 @2", "column 10: '@' gives '@' a second time in this term"),
        ("0.2 a first 3 all", "column 15: 'all' gives positions a second time"),
        ("0.2 a for 3 tokens for 4 tokens", "column 20: 'for' gives 'for' a second time"),
        ("0.2 a outside thinking outside thinking", "column 24: 'outside' gives outside thinking a second time"),
        (
            "0.3 warm 0.2 concise",
            "column 10: expected a clause or the next term, not '0.2': write + or ; or a new line",
        ),
        ("0.3 warm ablate x", "column 10: expected a clause or the next term, not 'ablate'"),
        ("0.3 warm - 0.1 formal", "column 10: '-' begins no clause: to subtract, add a negative number"),
        ("0.2 a +", "column 8: a term is missing after '+'"),
        ("0.2 a + + 0.1 b", "column 9: expected a term, not '+'"),
        ("0.2 a ]", "column 7: ']' is no clause"),
        ("0.2 a, b", "column 6: ',' is not expected here: only ablate takes several vectors"),
        ("0.2 a b > 1", "column 7: 'b' is no clause"),
        ("0.2 a > 1", "column 7: '>' compares a probe: write when or if before the probe's name"),
        ("0.2 a @1 keeping norm", "column 10: 'keeping' does not belong here: 'keeping norm' comes right after"),
        ("0.2 a keeping lenth", "column 15: expected 'norm' after 'keeping', not 'lenth'"),
        ("0.2 a from 3", "column 7: 'from' does not belong here: 'from' comes right after the layers"),
        ("0.2 when", "column 5: expected a vector after the number, but 'when' is a word of the language"),
        ("0.2empathy", "column 1: '0.2empathy' is no number: put a space after a number"),
        ("0.2 2nd", "column 5: '2nd' is no number: put a space after a number, and quote a name"),
        ('0.2 a on "my friend', 'column 10: this " is not closed'),
        ('0.2 a on "my\nfriend"', 'line 1, column 10: this " is not closed'),
        ('0.2 "a\\v"', "column 5: a wrong escape in '\"a\\\\v\"': a backslash is written \\\\"),
        ('0.2 "\\ud800"', "column 5: '\"\\\\ud800\"' has half of a surrogate pair"),
        ("0.2 a\udcff", "column 6: half of a surrogate pair, which no text has"),
        ("ablate 1.5 a", "column 8: the share 1.5 to ablate is not between 0 and 1"),
        ("ablate a, a", "name one twice"),
        ("ablate a to Mean", "column 13: expected a number or 'mean' after 'to', not 'Mean'"),
        ("cap a", "column 6: expected the bounds after the vector, as in [-1, 2] or < 2 or > -1, not the end"),
        ("cap a [2, 1]", "column 7: no score is from 2 to 1: write the lower bound first"),
        ("cap a [1 2]", "column 10: expected ',' between the bounds, as in [-1, 2], not '2'"),
        ("cap a [1, 2", "column 12: expected ']' after the bounds, not the end"),
        ("cap a < fpr 2", "column 13: fpr 2 is not between 0 and 1"),
        ("set a 2", "column 7: expected 'to' after the vector of 'set', not '2'"),
        ("0.2 a @", "column 8: expected a whole number after '@' (a layer), or all, not the end"),
        ("0.2 a @1.5", "column 8: expected a whole number after '@' (a layer), or all, not '1.5'"),
        ("0.2 a @9-2", "column 8: layers 9-2 are none: write the lower one first"),
        ("0.2 a @0-999999999", "column 8: layer is 999999999: give a whole number from 0 to 999"),
        ("0.2 a @0-4,8", "column 11: a range of layers stands alone"),
        ("0.2 a @3,3", "column 8: layers '3,3' name a layer twice"),
        ("0.2 x/empathy@ab.safetensors", "not 'ab.safetensors'; a name or path that has an @ is quoted"),
        ("0.2 a @all from 1000", "column 17: layer is 1000"),
        ("0.2 a for 0 tokens", "column 11: the number of tokens is 0: give a whole number from 1"),
        ("0.2 a for 20", "column 13: expected 'tokens' after the number, as in for 20 tokens, not the end"),
        ("0.2 a when b", "column 13: expected > or < after the probe, as in when calm > 1, not the end"),
        ("0.2 a when b >= 1", "column 15: expected a number or fpr as a bound, not '=': there is no >= or <="),
        ("0.2 a when b@1000 > 1", "column 14: layer is 1000"),
        ("0.2 a when b > 1 until 2", "column 18: 'until 2' is above '> 1', so the gate would not stay open"),
        ("0.2 a if b > 1 until 2", "column 16: 'until' does not belong here"),
        ("\u22120.2 a", "column 1: '\u2212' (MINUS SIGN) is not used here: type -"),
        ("0.2 \u201ca\u201d", "column 5: '\u201c' (LEFT DOUBLE QUOTATION MARK) is not used here: type \""),
        ("0.2 'a b'", 'column 5: "\'" is not used here: type "'),
        ("0.2 a when b \u2265 1", "column 14: '\u2265' (GREATER-THAN OR EQUAL TO) is not used here: type >"),
        ("0.2 a \uff2018", "column 7: '\uff20' (FULLWIDTH COMMERCIAL AT) is not used here: type @"),
        ("0.2*a", "column 4: '*' is not used here: type a space"),
        ("(0.2 a)", "column 1: '(' has no meaning here"),
        ("0.2 a\n# b\n0.3 c whn\n0.1 d", "\"0.3 c whn\": line 3, column 7: 'whn' is no clause"),
    ],
)
def test_an_error_names_the_column_and_what_is_expected(text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert said in str(raised.value)
    assert str(raised.value).isprintable()


@settings(max_examples=200, deadline=None)
@given(expressions)
def test_what_is_written_is_read_back_as_the_same(expression: Expression) -> None:
    text = str(expression)
    assert text.isprintable()
    assert parse(text) == expression
    assert str(parse(text)) == text


def test_every_example_of_the_documentation_is_read() -> None:
    page = PAGE.read_text()
    first = re.findall(r"^(\S.*?) {3,}\S", page.partition("## Actions")[0], re.MULTILINE)
    listed = re.findall(r"^\| `(.*?)` \|", page.partition("## Actions")[2].partition("## Layers")[0], re.MULTILINE)
    actions = [action for action in listed if not action.startswith("...")]
    examples = re.findall(r"^\| `(.*?)` \|", page.partition("## Ten examples")[2], re.MULTILINE)
    assert (len(first), len(actions), len(examples)) == (4, 9, 10)
    for example in (*first, *actions, *examples):
        assert parse(str(parse(example))) == parse(example)


def test_the_documentation_has_the_grammar_of_the_parser() -> None:
    grammar = dedent(str(parser.__doc__).partition("\n\n")[2]).strip()
    assert f"```\n{grammar}\n```" in PAGE.read_text()


def test_ten_thousand_terms() -> None:
    terms = parse("0.2 a;" * 10_000).terms
    assert [term.column for term in terms] == list(range(1, 60_001, 6))


def test_a_text_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(UsageError, match="column 1: it has 1,000,000 characters, more than the 100,000") as raised:
        parse("@!$%" * 250_000)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("before", ["set ", "cap ", "0.2 ", "ablate 2 ", "ablate a, ", "0.2 a when ", "0.2 a on "])
@pytest.mark.parametrize("name", ['"a\\nb\\u001b"', "a" * 50_000, f'"{"é" * 50_000}"'])
def test_an_odd_name_leaves_the_error_short_and_on_one_line(before: str, name: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(f"{before}{name} x")
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("piece", ["[", '"', "\\", "@", "+", "-", "9", "a ", "when ", "\u2212", "0.2 a ("])
def test_garbage_is_refused_in_a_short_line(piece: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse((piece * LONGEST)[:LONGEST])
    assert len(str(raised.value)) < 500
