"""A request's steering, probes and conditions as text of the language, then on a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from localprobe.errors import LocalprobeError, UsageError
from localprobe.fake import FakeEngine
from localprobe.fake.transformer import LAYERS, WIDTH
from localprobe.model import Model
from localprobe.serve.errors import ApiError
from localprobe.serve.resolve import library_vector, read, read_steering, resolve
from localprobe.serve.types import Steering
from localprobe.vectors.files import save
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.serve.server import LAYER, Server, planted


def said(steering: Any) -> str:
    """What a request's steering, given as JSON values, says in the language."""
    return "; ".join(map(str, read_steering(msgspec.convert(steering, Steering))))


@pytest.mark.parametrize(
    ("steering", "text"),
    [
        ("0.2 warm; ablate refusal", "0.2 warm; ablate refusal"),
        (["0.2 warm", "ablate refusal"], "0.2 warm; ablate refusal"),
        (["0.2 warm # a note", "0.1 brief"], "0.2 warm; 0.1 brief"),
        ([{"vector": "warm", "dose": 0.2}], "0.2 warm"),
        ({"vector": "warm", "dose": -0.2}, "-0.2 warm"),
        ([{"vector": "warm", "alpha": 3}], "alpha 3 warm"),
        ([{"vector": "warm", "ablate": 1}], "ablate warm"),
        ([{"vector": "warm", "ablate": 0.5}], "ablate 0.5 warm"),
        ([{"vector": "warm", "dose": 0.2, "layer": 4}], "0.2 warm @4"),
        ([{"vector": "warm", "dose": 0.2, "layers": [2, 4]}], "0.2 warm @2,4"),
        ([{"vector": "warm", "dose": 0.2, "layers": "all"}], "0.2 warm @all"),
        (
            [{"vector": "warm", "dose": 0.2, "positions": "response outside thinking"}],
            "0.2 warm response outside thinking",
        ),
        ([{"vector": "two words", "dose": 0.2}], '0.2 "two words"'),
        ([{"vector": "ablate", "dose": 1e-05, "tokens": 9}], '1e-05 "ablate" for 9 tokens'),
        (
            [{"vector": "warm", "dose": 0.2, "if": "brief > 1", "when": "calm > 3", "until": 2}],
            "0.2 warm if brief > 1 when calm > 3 until 2",
        ),
        ([], ""),
        ("", ""),
        ("  ", ""),
        (False, ""),
        (None, ""),
    ],
)
def test_terms_in_parts_are_terms_of_the_language(steering: Any, text: str) -> None:
    assert said(steering) == text


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"vector": "warm"}, "no strength"),
        ({"vector": "warm", "dose": 1, "ablate": 1}, "dose and ablate"),
        ({"vector": "warm", "dose": 1, "layer": 1, "layers": "all"}, "layer and layers"),
        ({"vector": "warm", "dose": 1, "until": 1}, "where `when` ends"),
        ({"vector": "warm", "dose": 1, "positions": "; ablate warm"}, "one term"),
        ({"vector": "warm", "dose": 1, "layers": "all from 2 + 3 brief"}, "one term"),
    ],
)
def test_parts_that_are_no_term_are_refused(part: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        said([part])


def test_a_default_is_taken_only_where_nothing_is_said() -> None:
    def read_with(steering: Any) -> int:
        return len(read(steering, None, None, default="0.3 warm", most=9).steering)

    assert [read_with(steering) for steering in (None, False, "", [], "0.1 brief")] == [1, 0, 0, 0, 1]


def test_a_file_is_not_found_under_a_name_that_it_happens_to_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm: Vector
) -> None:
    monkeypatch.chdir(tmp_path)
    save(warm, Path("here.safetensors"))
    Path("here.safetensors").rename("here")
    with pytest.raises(LocalprobeError, match="no vector 'here' in the library"):
        library_vector("here", FakeEngine().info)
    with pytest.raises(ApiError, match="no name of a vector"):
        library_vector("./here", FakeEngine().info)


def test_on_a_model_probes_are_read_at_their_layers(warm: Vector) -> None:
    wanted = read("0.2 warm", ["warm", "warm@1", "warm"], ["brief < 2"], default="", most=9)
    resolved = resolve(Model(FakeEngine()), wanted)
    assert resolved.probes == ("warm", "warm@1")
    assert [watch.layer for watch in resolved.watch] == [LAYER, 1]
    assert [(alarm.name, alarm.threshold) for alarm in resolved.alarms] == [("brief < 2", 2)]
    assert resolved.applied.steering == "0.2 warm"
    assert resolved.applied.terms[0]["vector"] == "warm"


def test_a_vector_of_another_model_is_refused_by_name(warm: Vector) -> None:
    planted("elsewhere", name="other", weights="0" * 64)
    with pytest.raises(ApiError, match="'elsewhere' is kept for other, not for fake") as caught:
        resolve(Model(FakeEngine()), read("0.2 elsewhere", None, None, default="", most=9))
    assert (caught.value.status, caught.value.param) == (400, "steering")


def test_warnings_are_notices_of_the_answer(server: Server) -> None:
    ones = Direction(np.ones(WIDTH, np.float32))
    Library().keep(Vector("deep", Origin("fake", width=WIDTH), {2: ones, LAYERS + 1: ones}, 2))
    notices = server.chat(steering="0.2 deep")["localprobe"]["notices"]
    assert notices == ["vector 'deep': the direction at layer 7 is past the last block of fake (5): left out"]


@pytest.mark.parametrize(
    ("steering", "message"),
    [
        (["0.1 warm"] * 65, "steering has more than the 64 terms"),
        ("0.1 warm;" * 2000, "steering has 18,000 characters: 16,384 are the most"),
        (["0.1 warm" + " " * 9000, "0.1 brief" + " " * 9000], "steering has 18,017 characters"),
    ],
)
def test_more_than_a_request_may_say_is_refused_unread(
    monkeypatch: pytest.MonkeyPatch, steering: Any, message: str
) -> None:
    monkeypatch.setattr("localprobe.serve.resolve.parse", None)
    with pytest.raises(ApiError, match=message):
        read(steering, None, None, default="", most=64)


def test_a_strength_that_no_float32_has_is_the_steerings_fault(server: Server) -> None:
    for steering in ("1e308 warm", "alpha 3e38 warm", {"vector": "warm", "dose": 1e39}):
        assert server.chat(steering=steering)["error"]["param"] == "steering"


def test_the_longest_name_can_be_probed_in_quotes(server: Server) -> None:
    said = server.chat(probes=[f'"{"x" * 200}"'])["error"]
    assert (said["param"], "no vector" in said["message"]) == ("probes", True)
