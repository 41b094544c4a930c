"""Calibrating a vector on a model: texts, answers and positives scored, the result kept in the vector's file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import localprobe as lp
from localprobe.capture.residuals import Text
from localprobe.chat_template import Exchange, Marked
from localprobe.contrast import duplicates
from localprobe.contrast.pairs import PAIR_SETS, TEXT_SETS, read_pairs, read_texts
from localprobe.errors import DataError, UsageError, VectorError
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.probing import scored
from localprobe.probing.calibrate import Neutral, Positives, calibrate, check, keep, positives_of
from localprobe.probing.fit import fit
from localprobe.steering.knob import watch
from localprobe.vectors import files
from localprobe.vectors.calibration import threshold
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Vector

TEXTS = read_texts(TEXT_SETS.path("everyday"))[:60]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(FakeEngine())


@pytest.fixture(scope="module")
def probe(model: Model) -> Vector:
    return fit(model, read_pairs(PAIR_SETS.path("empathy"))[:20], concept="empathy", validate=False).vector


def silent(amount: object) -> None:
    pass


class TestScores:
    def test_of_texts_are_projections_without_the_first_token(self, model: Model, probe: Vector) -> None:
        watches = [watch(probe, layer) for layer in (1, 3)]
        texts: list[Text] = ["A short one.", "Something a little longer than that.", Marked("<|im_start|>user")]
        found = scored.of_texts(model, texts, watches, silent)
        for text, scores in zip(texts, found, strict=True):
            (captured,) = model.capture([text], [1, 3], "tokens")
            expected = [r[1:] @ w.vector for r, w in zip(captured.residuals, watches, strict=True)]
            assert np.allclose(scores, expected, atol=1e-5)

    def test_of_an_exchange_are_those_of_its_answer(self, model: Model, probe: Vector) -> None:
        (scores,) = scored.of_texts(model, [Exchange("A question?", "An answer.")], [watch(probe, 2)], silent)
        assert scores.shape == (1, len(b"An answer."))
        (whole,) = model.capture([Exchange("A question?", "An answer.")], [2], "answer")
        assert scores.mean() == pytest.approx(whole.residuals[0] @ watch(probe, 2).vector, abs=1e-4)

    def test_of_answers_are_those_that_answering_gives(self, model: Model, probe: Vector) -> None:
        watched = watch(probe, 2)
        scores = scored.of_answers(
            model, ["Why?", "How?", "Why?"], [watched], silent, tokens=5, temperature=0.7, seed=3
        )
        answers = model.answers(["Why?", "How?", "Why?"], watch=watched, tokens=5, seed=3)
        for found, answer in zip(scores, answers, strict=True):
            assert found[0].tolist() == answer.scores.tolist()

    def test_progress_reaches_the_end(self, model: Model, probe: Vector) -> None:
        amounts: list[tuple[int, int]] = []
        scored.of_texts(
            model, TEXTS[:5], [watch(probe, 2)], lambda amount: amounts.append((amount.texts, amount.total))
        )
        assert amounts == [(i, 5) for i in range(1, 6)]


class TestCalibrate:
    def test_a_vector_gets_thresholds_of_tokens_and_texts(self, model: Model, probe: Vector) -> None:
        report = calibrate(model, probe, 0.1, Neutral.read(TEXTS), layers=[2, 3])
        assert list(report.calibrations) == [2, 3]
        for layer, (token, text) in report.calibrations.items():
            assert (token.unit, text.unit) == ("token", "text")
            assert report.vector.directions[layer].calibrations == (token, text)
            assert threshold(report.vector, 0.1, layer=layer) == token.at()
            assert token.weights == model.info.weights
            assert (token.kind, token.texts, token.source) == ("texts", 60, "the texts given")
            assert token.rate.low <= 0.1 <= token.rate.high
        assert "a token fires at fpr 0.1 above" in repr(report)
        assert report.to_frame().groupby("layer")["unit"].nunique().tolist() == [2, 2]

    def test_positives_are_the_pairs_that_the_probe_has_not_seen(self, model: Model, probe: Vector) -> None:
        pairs = read_pairs(PAIR_SETS.path("empathy"))
        positives = positives_of(probe)
        assert len(positives.pairs) == len(pairs) - len(probe.origin.trained_on)
        assert not {pair.hash for pair in positives.pairs} & set(probe.origin.trained_on)
        few = Positives(positives.pairs[:3], "empathy")
        token, text = calibrate(model, probe, 0.1, Neutral.read(TEXTS), positives=few).calibrations[probe.layer()]
        assert text.true_positive is not None
        assert text.negative is not None
        assert text.true_positive.of == text.negative.of == 3
        assert text.positives == token.positives == "empathy"

    def test_a_concept_without_pairs_has_no_true_positive_rate(self, model: Model, probe: Vector) -> None:
        other = replace(probe, concept="loudness")
        assert positives_of(other).pairs == ()
        report = calibrate(model, other, 0.1, Neutral.read(TEXTS))
        assert all(each.true_positive is None and not each.positives for each in report.calibrations[other.layer()])

    def test_a_probe_that_saw_every_pair_of_a_file(self, probe: Vector, tmp_path: Path) -> None:
        seen = [pair for pair in read_pairs(PAIR_SETS.path("empathy")) if pair.hash in probe.origin.trained_on]
        path = tmp_path / "seen.jsonl"
        path.write_text("".join(f'{{"positive": "{p.positive}", "negative": "{p.negative}"}}\n' for p in seen[:1]))
        with pytest.raises(DataError, match="was used to fit this probe: give `positives` that it has not seen"):
            positives_of(probe, path)

    def test_a_vector_that_does_not_say_what_it_was_fitted_on(self, probe: Vector) -> None:
        unknown = replace(probe, origin=replace(probe.origin, trained_on=()))
        assert "no pair of empathy is left out" in positives_of(unknown).notices[0]

    def test_answers(self, probe: Vector) -> None:
        model = Model(FakeEngine(context=2048))
        neutral = Neutral.read(answers=30, tokens=8)
        few = Positives(positives_of(probe).pairs[:2], "empathy")
        report = calibrate(model, probe, 0.1, neutral, positives=few)
        token = report.calibrations[probe.layer()][0]
        assert (token.kind, token.source, token.texts) == ("answers", "questions", 30)
        assert token.tokens <= 30 * 8
        assert "30 answers are too few for a threshold of whole answers at fpr 0.1, which needs 50" in report.notices[0]
        both = calibrate(model, report.vector, 0.1, Neutral.read(TEXTS), positives=few).vector
        assert {each.kind for each in both.directions[probe.layer()].calibrations} == {"texts", "answers"}
        assert threshold(both, 0.1) == token.at()

    def test_few_texts_are_refused_in_one_line(self, model: Model, probe: Vector) -> None:
        with pytest.raises(DataError, match=r"the texts given: \d+ tokens in 5 texts are too few for `fpr` 0.01"):
            calibrate(model, probe, 0.01, Neutral.read(TEXTS[:5]), positives=Positives())


class TestNeutral:
    def test_empty_and_repeated_texts_are_told(self) -> None:
        neutral = Neutral.read(["One.", "Two.", "One.", " "])
        assert neutral.texts == ("One.", "Two.")
        assert neutral.notices == ("the texts given: 2 of 4 texts are empty or given twice: left out",)

    def test_no_text(self) -> None:
        with pytest.raises(DataError, match="the texts given holds no text"):
            Neutral.read([])

    def test_questions_are_asked_again_after_the_last(self) -> None:
        assert Neutral(("a", "b"), "x", answers=5).asked == ["a", "b", "a", "b", "a"]

    def test_the_hash_is_of_the_texts(self) -> None:
        assert Neutral(("a", "b"), "x").sha256 == Neutral(("a", "b"), "y").sha256 != Neutral(("ab",), "x").sha256


class TestKeep:
    def test_by_file_by_name_and_in_memory(self, model: Model, probe: Vector, tmp_path: Path) -> None:
        report = calibrate(model, probe, 0.1, Neutral.read(TEXTS), positives=Positives())
        path = tmp_path / "kind.safetensors"
        files.save(probe, path)
        kept = keep(report, path, model.info)
        assert kept.path == path
        assert files.load(path).directions[probe.layer()].calibrations == report.calibrations[probe.layer()]
        named = Library().keep(probe, "calm")
        assert keep(report, "calm", model.info).path == named
        assert Library().vector("calm", model.info).directions[probe.layer()].calibrations
        assert keep(report, probe, model.info).path is None
        with pytest.raises(VectorError, match="no vector 'nowhere' is kept for"):
            keep(report, "nowhere", model.info)

    def test_from_python_by_name(self, model: Model, probe: Vector) -> None:
        path = Library().keep(replace(probe, concept="quiet"))
        report = lp.calibrate(model, "quiet", 0.1, TEXTS, layers=[2])
        assert report.path == path
        kept = lp.vector("quiet", model)
        assert threshold(kept, 0.1, layer=2) == report.calibrations[2][0].at()
        assert len(lp.calibrate(model, kept, 0.2, TEXTS, layers=[2]).vector.directions[2].calibrations) == 4
        assert len(lp.vector("quiet", model).directions[2].calibrations) == 2

    def test_a_file_that_cannot_hold_it_is_refused_before_the_model_runs(self, probe: Vector, tmp_path: Path) -> None:
        path = tmp_path / "kind.gguf"
        files.export(replace(probe, directions={3: probe.directions[3]}, best=3), path)
        with pytest.raises(VectorError, match="a control vector in GGUF, which cannot keep a calibration"):
            check(path, 0.1)
        with pytest.raises(UsageError, match=r"`fpr` is 0.6: give a false-positive rate above 0 and at most 0.5"):
            check("empathy", 0.6)


class TestShippedTexts:
    def test_they_are_many_and_of_all_lengths(self) -> None:
        texts = read_texts(TEXT_SETS.path("everyday"))
        lengths = [len(text.split()) for text in texts]
        assert len(texts) >= 500
        assert (min(lengths), max(lengths) <= 150) == (4, True)
        for least, most in ((4, 8), (9, 16), (17, 32), (33, 64), (65, 150)):
            assert sum(least <= length <= most for length in lengths) >= 100

    def test_none_is_near_another(self) -> None:
        texts = [text for name in TEXT_SETS.names() for text in read_texts(TEXT_SETS.path(name))]
        assert duplicates.same(texts) == []
        assert duplicates.near(texts) == []
