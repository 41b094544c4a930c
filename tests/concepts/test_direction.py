"""From words to a vector in the library, on the fake engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import localprobe as lp
from localprobe.concepts.concept import Concept
from localprobe.concepts.direction import ConceptDirection, direction, writers_for
from localprobe.errors import UsageError
from localprobe.fake import FakeEngine
from localprobe.generators.generator import Generator, LocalModel, TextRequest
from localprobe.model import Model
from localprobe.probing.config import ProbeConfig
from localprobe.store.runs import Runs
from localprobe.vectors.library import Library
from tests.concepts.planted import Planted, text
from tests.generators.openai_server import Reply, serving

QUICK = ProbeConfig(resamples=100, permutations=20, random_directions=20)
LOUD = Concept("loud", "soft")


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALPROBE_DATA", str(tmp_path / "data"))


def made(generator: Planted, pairs: int = 30) -> ConceptDirection:
    return direction(Model(FakeEngine()), LOUD, QUICK, generators=[generator], pairs=pairs)


def test_two_words_become_a_validated_vector_in_the_library() -> None:
    result = made(Planted())
    assert result.report.layers[result.report.layer].auroc == 1.0
    assert (result.report.verdict, result.advice) != (None, "")
    kept = Library().vector("loud")
    assert (kept.concept, kept.best) == ("loud", result.report.layer)
    assert result.file.is_file()
    run = Runs().get(result.report.run)
    assert (run.kind, run.result["pairs"]) == ("validate", str(LOUD.file(["planted"])))


def test_a_bad_verdict_gives_advice_and_keeps_the_vector() -> None:
    class Mumbling(Planted):
        def text(self, ask: TextRequest) -> str:
            return text("", ask.seed)

    result = made(Mumbling())
    assert result.report.verdict is not None
    assert result.report.verdict.headline.startswith("Not shown")
    assert "More pairs may help (`pairs`)" in result.advice
    assert Library().vector("loud").best == result.report.layer


def test_from_python_with_an_endpoint(tmp_path: Path) -> None:
    def reply(request: dict[str, list[dict[str, str]] | int]) -> Reply:
        messages, seed = request["messages"], request["seed"]
        assert isinstance(messages, list)
        assert isinstance(seed, int)
        return Reply(text(messages[0]["content"], seed))

    told: list[str] = []
    output = tmp_path / "loud.jsonl"
    with serving(reply) as server:
        report = lp.concept(
            Model(FakeEngine()),
            "loud",
            against="soft",
            generators=[f"tiny@{server.url}"],
            pairs=20,
            config=QUICK,
            output=output,
            notify=told.append,
        )
    assert isinstance(report, lp.ProbeReport)
    assert (report.result.train_pairs, report.result.test_pairs) == (14, 6)
    assert (report.run, len(output.read_text().splitlines())) == (Runs().get(report.run).id, 20)


def test_the_probed_model_itself_writes_if_no_generator_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalModel, "answer", lambda self, asks: Planted().answer(asks))
    model = Model(FakeEngine())
    report = lp.concept(model, "loud", against="soft", pairs=20, config=QUICK, notify=lambda line: None)
    pairs = lp.pairs(report.result.pairs)
    assert {pair.metadata["generator"] for pair in pairs} == {"local:fake@fake"}
    assert {pair.metadata["weights"] for pair in pairs} == {model.info.weights}


def test_a_generator_that_is_the_probed_model_does_not_load_it_again() -> None:
    model = Model(FakeEngine())
    for same in (LocalModel("fake"), LocalModel("fake", "fake"), LocalModel.of(model)):
        [writer] = writers_for(model, [same])
        assert writer.name == "local:fake@fake"
        writer.rest()
        assert isinstance(writer, LocalModel)
        assert not writer.would_load(model.info)
    others: list[Generator] = [LocalModel("fake", "torch"), LocalModel("other"), Planted()]
    assert writers_for(model, others) == others


@pytest.mark.parametrize(
    ("word", "options", "complaint"),
    [
        ("loud", {"pairs": 7}, "`pairs` 7: a probe takes at least 8"),
        ("loud", {"config": ProbeConfig(test_fraction=0)}, "`test_fraction` 0 of 40 pairs leaves fewer than two"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    word: str, options: dict[str, object], complaint: str
) -> None:
    generator = Planted()
    with pytest.raises(UsageError, match=complaint):
        direction(Model(FakeEngine()), Concept(word), generators=[generator], **options)  # type: ignore[arg-type]
    assert generator.asks == []


def test_a_base_model_cannot_write_its_own_pairs() -> None:
    engine = FakeEngine()
    engine.info = replace(engine.info, chat_template=None)
    with pytest.raises(UsageError, match="no chat template"):
        direction(Model(engine), LOUD)
