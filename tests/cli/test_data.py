"""`localprobe data check` and `localprobe data generate`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from localprobe.contrast.pairs import Pair
from tests.cli.conftest import Run
from tests.contrast.test_check import changed, sound
from tests.generators.openai_server import Reply, serving, story

SCENARIOS = [{"id": f"s{i}", "situation": f"Situation {i}."} for i in range(3)]


def written(path: Path, pairs: list[Pair], positive: str = "positive", negative: str = "negative") -> Path:
    records = [{positive: pair.positive, negative: pair.negative, "scenario": pair.scenario} for pair in pairs]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def scenarios(tmp_path: Path) -> Path:
    path = tmp_path / "scenarios.json"
    path.write_text(json.dumps(SCENARIOS))
    return path


def test_check_prints_findings_with_their_lines_and_one_judgement(run: Run, tmp_path: Path) -> None:
    pairs = changed(sound(), 20, positive=sound()[1].positive)
    ran = run("data", "check", written(tmp_path / "p.jsonl", pairs))
    first, *rest = ran.out.splitlines()
    assert first == f"{tmp_path / 'p.jsonl'}: 60 pairs, 18 of them to test a probe, 5 scenarios"
    assert "warning: duplicates: the same text is in several pairs: they count as one [lines 2 = 20]" in rest
    assert rest[-1].startswith("Usable with care (duplicates")
    assert ran.status == 0


def test_an_error_is_status_2(run: Run, tmp_path: Path) -> None:
    pairs = changed(changed(sound(), 5, "Stay here.", "Stay here."), 6, "Go there.", "Go there.")
    ran = run("data", "check", written(tmp_path / "p.jsonl", pairs))
    assert ran.status == 2
    assert "error: identical poles: the positive and the negative text are the same [lines 5-6]" in ran.out
    assert ran.out.splitlines()[-1].startswith("Not usable as it stands (identical poles)")


def test_check_of_other_field_names_and_of_a_test_file(run: Run, tmp_path: Path) -> None:
    names = ("empathic_text", "non_empathic_text")
    train = written(tmp_path / "a.jsonl", sound(), *names)
    test = written(tmp_path / "b.jsonl", changed(sound(20, seed=1), 4, sound()[10].positive), *names)
    options = ("--positive-field", names[0], "--negative-field", names[1], "--test", test)
    ran = run("data", "check", train, *options)
    assert "the same text is in the test file too: " in ran.out
    assert "[line 11; of the test file 4]" in ran.out
    assert ran.status == 2


def test_check_as_json(run: Run, tmp_path: Path) -> None:
    ran = run("data", "check", written(tmp_path / "p.jsonl", sound()), "--json")
    told = json.loads(ran.out)
    assert (told["pairs"], told["findings"], told["usable"]) == (60, [], True)


def test_check_of_a_set_that_ships(run: Run) -> None:
    ran = run("data", "check", "empathy")
    assert ran.status == 0
    assert "empathy.jsonl: " in ran.out


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "holds no pairs"),
        ('{"positive": "a b", "negative": "c d"}\n{"positive": "a', "line 2: not JSON"),
        ('{"empathic_text": "a", "non_empathic_text": "b"}\n', "no field 'positive'; it has empathic_text"),
        ('{"positive": "a b", "negative": "c d"}\n', "a single pair"),
        ('{"positive": "a b", "negative": ""}\n{"positive": "c d", "negative": ""}\n', "line 1: negative is empty"),
        (None, "cannot read"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(run: Run, tmp_path: Path, content: str | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / "p.jsonl").write_text(content)
    ran = run("data", "check", tmp_path / "p.jsonl")
    assert (ran.status, ran.out) == (2, "")
    assert complaint in ran.err
    assert ran.err.startswith("localprobe: ")
    assert ran.err.count("\n") == 1


def test_no_such_set(run: Run) -> None:
    ran = run("data", "check", "sympathy")
    assert ran.status == 2
    assert "no contrast set is named 'sympathy'" in ran.err


def test_generate_then_check(run: Run, tmp_path: Path, scenarios: Path) -> None:
    output = tmp_path / "out.jsonl"
    with serving(story) as server:
        generators = ("-g", f"a@{server.url}", "-g", f"b@{server.url}")
        command = ("data", "generate", "-o", output, *generators, "--scenarios", scenarios, "--runs", 2)
        ran = run(*command)
        again = run(*command)
        asked = len(server.asked)
    assert ran.status == 0
    assert ran.out.splitlines()[0] == f"6 pairs written, 0 already there -> {output}"
    assert ran.out.splitlines()[-1] == f"next: localprobe data check {output}"
    assert ran.err.splitlines()[0].startswith(f"1/6  s0, run 0, a@{server.url}: written, ")
    assert again.out.splitlines()[0] == f"0 pairs written, 6 already there -> {output}"
    assert asked == 12
    assert run("data", "check", output).status == 0


def test_generate_with_a_local_model(run: Run, tmp_path: Path, scenarios: Path) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text('{"positive": "Care.", "negative": "Win."}')
    command = ("data", "generate", "-o", tmp_path / "out.jsonl", "-g", "local:fake@fake", "--json")
    ran = run(*command, "--scenarios", scenarios, "--system-prompts", prompts, "--tokens", 300, "--retries", 0)
    report = json.loads(ran.out)
    assert report["written"] + report["rejected"] == 3  # the fake model writes noise, some of it without words
    assert report["tokens"] > 0
    assert (ran.status == 0) == (report["written"] > 0)


def test_rejected_pairs_are_said(run: Run, tmp_path: Path, scenarios: Path) -> None:
    def reply(request: dict[str, Any]) -> Reply:
        refuses = "Situation 1" in request["messages"][1]["content"]
        return Reply("I'm sorry, but I can't help with that.") if refuses else story(request)

    with serving(reply) as server:
        ran = run("data", "generate", "-o", tmp_path / "o.jsonl", "-g", f"a@{server.url}", "--scenarios", scenarios)
    assert ran.status == 0
    assert f"warning: 1 pair was refused or empty -> {tmp_path / 'o.jsonl.rejected.jsonl'}" in ran.out
    assert ran.out.startswith("2 pairs written")


def test_if_every_pair_is_refused_the_status_is_2(run: Run, tmp_path: Path, scenarios: Path) -> None:
    with serving(lambda request: Reply("")) as server:
        ran = run("data", "generate", "-o", tmp_path / "o.jsonl", "-g", f"a@{server.url}", "--scenarios", scenarios)
    assert ran.status == 2
    assert ran.out.startswith("0 pairs written")
    assert not (tmp_path / "o.jsonl").exists()


def test_a_key_comes_from_the_environment_and_is_written_nowhere(
    run: Run, tmp_path: Path, scenarios: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with serving(story) as server:
        command = ("data", "generate", "-o", tmp_path / "o.jsonl", "-g", f"a@{server.url}", "--key-env", "MY_KEY")
        ran = run(*command, "--scenarios", scenarios)
    assert set(server.keys) == {"Bearer sk-secret"}
    assert "sk-secret" not in (tmp_path / "o.jsonl").read_text() + ran.out + ran.err


def test_errors_of_endpoints_are_one_line(run: Run, tmp_path: Path, scenarios: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    ran = run("data", "generate", "-o", tmp_path / "o.jsonl", "-g", f"a@{url}", "--scenarios", scenarios)
    assert ran.status == 2
    assert ran.err.startswith(f"localprobe: a@{url}: cannot connect to {url}")
    assert ran.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [scenarios]


@pytest.mark.usefixtures("signals_heard")
def test_ctrl_c_keeps_what_is_done(tmp_path: Path, scenarios: Path) -> None:
    def slowly(request: dict[str, Any]) -> Reply:
        time.sleep(0.1)
        return story(request)

    output = tmp_path / "o.jsonl"
    with serving(slowly) as server:
        arguments = ["data", "generate", "-o", str(output), "-g", f"a@{server.url}", "--scenarios", str(scenarios)]
        process = subprocess.Popen(
            [sys.executable, "-c", "from localprobe.cli import main; main()", *arguments, "--runs", "20"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not output.exists() or output.read_bytes().count(b"\n") < 2:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    done = output.read_bytes().count(b"\n")
    assert done <= len(server.asked) / 2
    *_, safe, empty, stopped = told.splitlines()
    assert (empty, stopped) == ("", "localprobe: stopped")
    assert safe == f"{len(told.splitlines()) - 3} of 60 pairs are saved; re-running the command resumes it"
