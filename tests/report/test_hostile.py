"""A report of runs that anybody may have named: nothing of a name is markup, mathematics or a path."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from localprobe import report
from localprobe.errors import DataError
from localprobe.store.json_values import to_json
from localprobe.store.runs import Run
from tests.report.sweeps import CARING, At, sweep

HOSTILE = "<script>alert(1)</script>../../x \"' onload=alert(1) $x^{$ \x1b]0;owned\x07"


class Elements(HTMLParser):
    """The elements of a page, and the attributes of any of them."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


def writes(at: At) -> str:
    return f"{CARING} <img src=x onerror=alert(1)>"


def run() -> Run:
    result = to_json(sweep(writes, models=[(HOSTILE, HOSTILE)]))
    about = {"command": HOSTILE, "folder": HOSTILE, "machine": HOSTILE, "hashes": {HOSTILE: HOSTILE}}
    return Run("0123abcd", "sweep", HOSTILE, HOSTILE, about, result)


@pytest.mark.slow
def test_no_name_becomes_markup() -> None:
    page = report.page([run()])
    parsed = Elements()
    parsed.feed(page)
    assert not parsed.names & {"script", "img"}
    assert not {name for name in parsed.attributes if name.startswith("on")}
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 5


@pytest.mark.slow
def test_no_name_leads_out_of_the_folder_of_tables(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "tables"
    count = report.write_csv([run()], folder)
    assert len(list(folder.iterdir())) == count == len([path for path in tmp_path.rglob("*") if path.is_file()])


@pytest.mark.parametrize(
    "about", [{"versions": []}, {"hashes": "abc"}], ids=["versions that are a list", "hashes that are a text"]
)
@pytest.mark.slow
def test_a_run_whose_circumstances_are_damaged_is_told(about: dict[str, object]) -> None:
    damaged = Run("0123abcd", "sweep", "a", "2026", about, run().result)
    with pytest.raises(DataError, match="cannot show run 0123abcd"):
        report.page([damaged])
