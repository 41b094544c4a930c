"""`localprobe calibrate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localprobe.contrast.pairs import TEXT_SETS, read_texts
from localprobe.vectors import files
from tests.cli.conftest import Run


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(read_texts(TEXT_SETS.path("everyday"))[:60]))
    return path


def test_it_prints_thresholds_and_rates_and_keeps_them(run: Run, vector_file: Path, texts: Path) -> None:
    ran = run("calibrate", vector_file, texts, "--fpr", 0.1, "--model", "fake", "--engine", "fake")
    assert ran.status == 0, ran.err
    assert "kindness at layer 2 of fake: false-positive rate 0.1 on 60 texts" in ran.out
    assert "a token" in ran.out
    assert "a mean of 16 tokens" in ran.out
    assert "false positives by length" in ran.out
    assert "no pairs are known that the probe was not fitted on; give some with --positives" in ran.out
    assert f"-> {vector_file}" in ran.out
    assert [each.fpr for each in files.load(vector_file).directions[2].calibrations] == [0.1, 0.1]
    assert files.load(vector_file).directions[4].calibrations == ()


def test_rates_stand_side_by_side_and_layers_can_be_chosen(run: Run, vector_file: Path, texts: Path) -> None:
    for fpr in (0.1, 0.2, 0.1):
        assert run("calibrate", vector_file, texts, "--fpr", fpr, "-l", "2,4", "-m", "fake", "-e", "fake").status == 0
    for layer in (2, 4):
        calibrations = files.load(vector_file).directions[layer].calibrations
        assert [(each.fpr, each.unit) for each in calibrations] == [
            (0.1, "token"), (0.1, "text"), (0.2, "token"), (0.2, "text"),
        ]  # fmt: skip


def test_answers_and_positives_as_json(run: Run, vector_file: Path) -> None:
    ran = run(
        "calibrate", vector_file, "--answers", 25, "--tokens", 8, "--fpr", 0.1, "--positives", "optimism",
        "-m", "fake", "-e", "fake", "--json",
    )  # fmt: skip
    assert ran.status == 0, ran.err
    (token,) = json.loads(ran.out)["layers"]["2"]
    assert (token["kind"], token["texts"], token["positives"]) == ("answers", 25, "optimism")
    assert token["true_positive"]["of"] > 40
    assert "only tokens have one" in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--fpr", "0.9"), "--fpr is 0.9: give a false-positive rate above 0 and at most 0.5"),
        (
            ("--fpr", "0.001"),
            "are too few for --fpr 0.001, which needs 5000 tokens and 20 texts: give more, or a larger",
        ),
        (("-l", "3"), "has no direction at layer 3"),
        (("--positives", "none"), "no contrast set is named 'none'"),
    ],
)
def test_what_cannot_be_is_one_line(
    run: Run, vector_file: Path, texts: Path, arguments: tuple[str, ...], told: str
) -> None:
    texts.write_text(json.dumps(json.loads(texts.read_text())[:25]))
    before = vector_file.read_bytes()
    ran = run("calibrate", vector_file, texts, *arguments, "-m", "fake", "-e", "fake")
    assert ran.status == 2
    assert told in ran.err
    assert len(ran.err.strip().splitlines()) <= 2, ran.err
    assert vector_file.read_bytes() == before
