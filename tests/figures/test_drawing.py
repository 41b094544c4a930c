"""Drawings: what a title says is drawn as it is, whatever it says."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from localprobe.figures.drawing import drawing


@pytest.mark.parametrize("name", ["$x^{$", "\\frac{1}{", "$\\alpha$", "100 $ and 200 $", "<b>&amp;</b>"])
def test_no_name_is_mathematics_or_markup(name: str) -> None:
    with drawing("figure") as sheet:
        (axis,) = sheet
        axis.plot([0, 1], [0, 1], label=f"label {name}")
        axis.set(title=f"title {name}", xlabel=f"x {name}", xticks=[0, 1], xticklabels=[f"tick {name}", "other"])
        sheet.finish()
    drawn = [text for text in ElementTree.fromstring(sheet.svg).itertext() if name in text]
    assert sorted(drawn) == [f"{what} {name}" for what in ("label", "tick", "title", "x")]


def test_control_characters_are_visible() -> None:
    with drawing("figure") as sheet:
        (axis,) = sheet
        axis.set_title("a\x1b]0;b\x07")
    assert "a␛]0;b␇" in sheet.svg
