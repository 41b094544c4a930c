"""`localprobe concept`, on the fake engine with planted texts."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from localprobe.fake import FakeEngine
from localprobe.generators.generator import Completion, LocalModel, TextRequest
from localprobe.vectors.library import Library
from tests.cli.conftest import Run
from tests.concepts.planted import Planted, text

LOUD = ("concept", "loud", "--against", "soft", "--model", "fake", "--engine", "fake")
QUICK = ("--pairs", 20, "--permutations", 20, "--resamples", 100)


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCALPROBE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Planted:
    """What writes in the place of the fake model, which has nothing to say."""
    planted = Planted()

    def answer(self: LocalModel, asks: Sequence[TextRequest]) -> list[Completion]:
        return planted.answer(asks)

    monkeypatch.setattr(LocalModel, "answer", answer)
    return planted


def test_from_a_word_to_a_vector_and_again_without_writing(run: Run, writer: Planted, own_data: Path) -> None:
    ran = run(*LOUD, *QUICK)
    assert ran.status == 0, ran.err
    assert ran.err.startswith("writing 20 pairs, loud against soft, to ")
    assert "20/20  creative, run 0, local:fake@fake: written" in ran.err
    first, *_ = ran.out.splitlines()
    assert first.startswith("The probe separates unseen pairs")
    vector = Library().vector("loud")
    assert f"loud -> {Library().path('loud', vector.origin.weights)}" in ran.out
    assert "20 pairs (20 written now, 0 before)" in ran.out
    assert "  warning: few pairs: 20 pairs, of which 6 test the probe: " in ran.out
    assert "next: localprobe steer loud " in ran.out
    again = run(*LOUD, *QUICK)
    assert "20 pairs (0 written now, 20 before)" in again.out
    assert ".safetensors, in place of the vector kept there before" in again.out
    assert len(writer.asks) == 40
    assert len(list((own_data / "concepts").glob("*.jsonl"))) == 1


def test_as_json(run: Run, writer: Planted, tmp_path: Path) -> None:
    told = json.loads(run(*LOUD, *QUICK, "-o", tmp_path / "p.jsonl", "--json").out)
    assert (told["name"], told["against"], told["pairs_file"]) == ("loud", "soft", str(tmp_path / "p.jsonl"))
    assert (told["pairs"], told["written"], told["already"], told["rejected"]) == (20, 20, 0, 0)
    assert (told["dropped_lines"], told["texts_with_the_word"], told["advice"]) == ([], [0, 0], "")
    assert told["check"]["pairs"] == 20
    assert told["result"]["validation"]["verdict"]["headline"].startswith("The probe separates")
    assert Path(told["file"]).is_file()
    assert told["run"]


def test_a_bad_verdict_comes_first_with_what_to_do_and_the_vector_is_kept(
    run: Run, writer: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "text", lambda ask: text("", ask.seed))
    ran = run(*LOUD, *QUICK)
    assert ran.status == 0
    assert ran.out.startswith("Not shown: ")
    assert "More pairs may help (--pairs), a bigger model or an endpoint that writes them (--generator)" in ran.out
    assert Library().vector("loud").best is not None


def test_ctrl_c_keeps_what_was_written_and_the_same_command_resumes(
    run: Run, writer: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(writer, "_stop_after", 10)
        ran = run(*LOUD, *QUICK)
    assert ran.status == 130
    *_, kept, empty, stopped = ran.err.splitlines()
    assert kept.startswith("the pairs written so far are kept in ")
    assert kept.endswith("; re-running the same command resumes")
    assert (empty, stopped) == ("", "localprobe: stopped")
    assert "20 pairs (15 written now, 5 before)" in run(*LOUD, *QUICK).out


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("loud", "--against", "LOUD"), "'loud' is set against itself: give --against another word"),
        (("",), "the word '' names no concept"),
        (("loud", "--pairs", 4), "--pairs 4: a probe takes at least 8"),
        (("loud", "--test-fraction", 0), "--test-fraction 0 of 40 pairs"),
        (("loud", "-g", "nobody"), "generator 'nobody': write "),
    ],
)
def test_what_cannot_work_is_one_line(run: Run, writer: Planted, args: tuple[object, ...], complaint: str) -> None:
    ran = run("concept", *args, "--model", "fake", "--engine", "fake")
    assert (ran.status, ran.out, writer.asks) == (2, "", [])
    assert ran.err.splitlines()[-1].startswith(f"localprobe: {complaint}")


def test_an_endpoint_that_is_down_is_one_line(run: Run) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        ran = run(*LOUD, "-g", f"m@http://127.0.0.1:{reserved.getsockname()[1]}/v1")
    assert ran.status == 2
    assert "cannot connect to http://127.0.0.1" in ran.err.splitlines()[-1]


def test_a_model_without_a_chat_template_is_told_what_to_give_instead(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    made = FakeEngine.__init__

    def base(self: FakeEngine, *args: object, **how: object) -> None:
        made(self, *args, **how)  # type: ignore[arg-type]
        self.info = replace(self.info, chat_template=None)

    monkeypatch.setattr(FakeEngine, "__init__", base)
    ran = run(*LOUD)
    assert ran.status == 2
    assert "fake has no chat template: it is a base model" in ran.err.splitlines()[-1]


def test_too_few_usable_pairs_are_one_line(run: Run, writer: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "text", lambda ask: "")
    ran = run(*LOUD, "--pairs", 8)
    assert ran.status == 2
    assert "only 0 of 8 pairs can be used" in ran.err.splitlines()[-1]
    assert "then ask for more --pairs or another generator" in ran.err.splitlines()[-1]
    assert "kept in" not in ran.err
