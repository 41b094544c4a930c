"""Thresholds of known false-positive rates: found by rate, unit and length, and kept in a vector's file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from localprobe.errors import UsageError, VectorError
from localprobe.fake import FakeEngine
from localprobe.stats.rates import rate
from localprobe.vectors import arithmetic, calibrated_file, files, metadata
from localprobe.vectors.calibrated import Calibration, Kind, Knot, LengthRate, Unit, merged
from localprobe.vectors.calibration import calibration, threshold
from localprobe.vectors.vector import Direction, Origin, Vector


def measured(
    fpr: float = 0.01, unit: Unit = "token", kind: Kind = "texts", knots: tuple[Knot, ...] = (Knot(1, 5.0, 4.5, 5.5),)
) -> Calibration:
    lengths = (LengthRate(3, 64, rate(5, 500)), LengthRate(65, None, rate(5, 500)))
    sides = rate(9, 10), rate(1, 10)
    return Calibration(
        fpr, unit, kind, knots, rate(10, 1000), lengths, *sides, 100, 1000, "everyday", "ab", "empathy", "m", "w" * 64,
        "fake", "1",
    )  # fmt: skip


TEXT = measured(unit="text", knots=(Knot(4, 3.0, 2.0, 4.0), Knot(16, 1.0, 0.5, 1.5)))


def vector(*calibrations: Calibration) -> Vector:
    directions = {b: Direction(np.full(8, b, np.float32), calibrations=calibrations if b == 2 else ()) for b in (1, 2)}
    return Vector("empathy", Origin("m", "w" * 64, width=8), directions, 2)


class TestThreshold:
    def test_of_a_token(self) -> None:
        assert threshold(vector(measured(), TEXT), 0.01) == 5.0

    def test_of_the_mean_of_some_tokens_lies_between_the_lengths_that_were_measured(self) -> None:
        probe = vector(measured(), TEXT)
        at = [threshold(probe, 0.01, unit="text", tokens=tokens) for tokens in (1, 4, 8, 16, 500)]
        assert at == pytest.approx([3, 3, 2, 1, 1])
        assert TEXT.interval(8) == pytest.approx((1.25, 2.75))

    def test_of_a_text_needs_its_length(self) -> None:
        with pytest.raises(UsageError, match="`tokens` is None: say over how many tokens the mean is taken"):
            threshold(vector(TEXT), 0.01, unit="text")

    def test_answers_have_their_own(self) -> None:
        probe = vector(measured(), measured(kind="answers", knots=(Knot(1, 7.0, 6.0, 8.0),)))
        assert threshold(probe, 0.01) == threshold(probe, 0.01, kind="answers") == 7.0
        assert threshold(probe, 0.01, kind="texts") == 5.0

    def test_one_that_was_not_measured_says_how_to_measure_it(self) -> None:
        with pytest.raises(VectorError) as caught:
            threshold(vector(measured()), 0.02)
        assert str(caught.value) == (
            "vector 'empathy' has no threshold for fpr 0.02 at layer 2: run localprobe calibrate empathy --fpr 0.02"
        )
        with pytest.raises(VectorError, match=r"at layer 1: run localprobe calibrate empathy --fpr 0.01 --layer 1$"):
            threshold(vector(measured()), 0.01, layer=1)
        with pytest.raises(VectorError, match=r"from answers: .* --fpr 0.01 --answers 120$"):
            calibration(vector(measured()), 0.01, kind="answers")

    @pytest.mark.parametrize("fpr", [0.0, -1.0, 0.51, float("nan")])
    def test_a_rate_that_is_none(self, fpr: float) -> None:
        with pytest.raises(UsageError, match=r"`fpr` is .*: give a false-positive rate above 0 and at most 0.5"):
            threshold(vector(measured()), fpr)

    def test_other_weights_give_a_notice(self) -> None:
        info = FakeEngine().info
        assert "other weights (m on fake) than those of" in measured().notice("empathy", info)
        assert replace(measured(), weights=info.weights).notice("empathy", info) == ""


def test_a_new_calibration_replaces_the_one_of_its_rate_unit_and_kind() -> None:
    others = (measured(0.05), measured(kind="answers"), TEXT)
    newer = measured(knots=(Knot(1, 9.0, 8.0, 10.0),))
    assert set(merged((measured(), *others), [newer])) == {newer, *others}


class TestFile:
    def test_it_is_read_back(self, tmp_path: Path) -> None:
        for path in (tmp_path / "v.safetensors", tmp_path / "v.npz", tmp_path / "v.gguf"):
            files.export(vector(measured(), TEXT), path)
            read = files.load(path)
            assert read.directions[2].calibrations == (measured(), TEXT)
            assert read.directions[1].calibrations == ()

    def test_a_vector_without_any_is_written_as_before(self) -> None:
        direction = json.loads(metadata.text_of(vector()))["directions"]["2"]
        assert list(direction) == ["norm", "threshold", "scale", "measures"]

    def test_keeping_adds_to_a_file_and_changes_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "v.safetensors"
        files.save(vector(), path)
        before = path.read_bytes()
        calibrated_file.keep(path, {2: (measured(), TEXT)})
        kept = calibrated_file.keep(path, {2: (measured(0.05),), 1: (TEXT,)})
        assert kept.directions[2].calibrations == (measured(), TEXT, measured(0.05))
        assert kept.directions[1].calibrations == (TEXT,)
        assert np.array_equal(kept.directions[2].vector, vector().directions[2].vector)
        assert calibrated_file.without(path.read_bytes()) == before != path.read_bytes()

    def test_a_file_of_an_older_version_stays_what_it_was(self, tmp_path: Path) -> None:
        from safetensors.numpy import save

        about = json.loads(metadata.text_of(vector()))
        del about["origin"]["special_tokens"]
        path = tmp_path / "v.safetensors"
        path.write_bytes(save(metadata.tensors_of(vector()), metadata={metadata.KEY: json.dumps(about)}))
        before = path.read_bytes()
        calibrated_file.keep(path, {2: (TEXT,)})
        assert calibrated_file.without(path.read_bytes()) == before

    @pytest.mark.parametrize(("suffix", "form"), [("gguf", "a control vector in GGUF"), ("npz", "npz")])
    def test_other_formats_cannot_hold_it(self, tmp_path: Path, suffix: str, form: str) -> None:
        path = tmp_path / f"v.{suffix}"
        files.export(vector(), path)
        before = path.read_bytes()
        with pytest.raises(VectorError, match=f"is {form}, which cannot keep a calibration: write it as .safetensors"):
            calibrated_file.keep(path, {2: (TEXT,)})
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        "broken",
        [
            {"fpr": 0},
            {"fpr": 0.7},
            {"knots": []},
            {"knots": [{"tokens": 0, "threshold": 1.0, "low": 1.0, "high": 1.0}]},
            {"knots": [{"tokens": 1, "threshold": None, "low": 1.0, "high": 1.0}]},
            {"unit": "word"},
            {"rate": 3},
        ],
    )
    def test_a_broken_one_is_one_line(self, tmp_path: Path, broken: dict[str, object]) -> None:
        path = tmp_path / "v.safetensors"
        files.save(vector(measured()), path)
        about = json.loads(metadata.text_of(vector(measured())))
        about["directions"]["2"]["calibrations"][0] |= broken
        from safetensors.numpy import save

        path.write_bytes(save(metadata.tensors_of(vector()), metadata={metadata.KEY: json.dumps(about)}))
        with pytest.raises(VectorError, match=r"v.safetensors has broken metadata: "):
            files.load(path)

    def test_a_file_without_any_is_named_by_all_its_bytes(self, tmp_path: Path) -> None:
        """Even one that mentions them, and is written in another way than ours."""
        header = {"__metadata__": {metadata.KEY: metadata.text_of(replace(vector(), concept="calibrations"))}}
        text = json.dumps(header, indent=1).encode()
        data = len(text).to_bytes(8, "little") + text
        assert calibrated_file.without(data) == data

    @pytest.mark.parametrize("data", [b"calibrations", b"", b'\x10\0\0\0\0\0\0\0{"calibrations":1', b"\xff" * 9])
    def test_bytes_that_are_no_vector_stay_as_they_are(self, data: bytes) -> None:
        assert calibrated_file.without(data) == data


def test_scaling_by_a_negative_factor_drops_them() -> None:
    assert arithmetic.scale(vector(measured()), 2.0).directions[2].calibrations == (measured(),)
    assert arithmetic.scale(vector(measured()), -1.0).directions[2].calibrations == ()
