"""The library of vectors: kept under a name for each model, found again by that name."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from localprobe.errors import UsageError, VectorError
from localprobe.fake import FakeEngine
from localprobe.vectors import files
from localprobe.vectors.library import Library, is_path
from localprobe.vectors.vector import Direction, Origin, Vector


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "vectors")


def made(concept: str = "kindness", model: str = "fake", weights: str = "a" * 64, value: float = 1.0) -> Vector:
    origin = Origin(model, weights=weights, width=32, layers=6)
    return Vector(concept, origin, {3: Direction(np.full(32, value, np.float32))}, 3)


def names(library: Library) -> list[str]:
    return sorted(entry.name for entry in library.entries())


def test_it_is_the_folder_vectors_of_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALPROBE_DATA", str(tmp_path))
    assert Library().folder == tmp_path / "vectors"
    assert Library().entries() == []


def test_a_vector_is_found_by_its_concept_or_by_the_name_it_was_given(library: Library) -> None:
    assert library.keep(made()).name == f"kindness@{'a' * 16}.safetensors"
    library.keep(made(value=2.0), "warmer")
    assert names(library) == ["kindness", "warmer"]
    assert library.vector("kindness").directions[3].vector[0] == 1.0
    assert library.vector("warmer").directions[3].vector[0] == 2.0


def test_the_later_vector_of_a_name_and_a_model_takes_the_place_of_the_earlier(library: Library) -> None:
    library.keep(made(value=1.0))
    library.keep(made(value=2.0))
    [entry] = library.named("kindness")
    assert entry.vector.directions[3].vector[0] == 2.0


def test_one_name_for_two_models_is_no_clash(library: Library) -> None:
    engine = FakeEngine()
    ours = made(model="fake", weights=engine.info.weights, value=1.0)
    library.keep(ours)
    library.keep(made(model="other", weights="b" * 64, value=2.0))
    assert len(library.named("kindness")) == 2
    assert library.vector("kindness", engine.info).directions[3].vector[0] == 1.0
    with pytest.raises(VectorError, match=r"are kept for (fake, other|other, fake): name"):
        library.vector("kindness")


def test_a_vector_of_other_weights_of_the_same_model_serves_too(library: Library) -> None:
    info = FakeEngine().info
    library.keep(made(model=info.model, weights="b" * 64))
    assert library.vector("kindness", info).origin.weights == "b" * 64
    narrower = dataclasses.replace(info, width=16)
    with pytest.raises(VectorError, match="'kindness' is kept for fake, not for fake: fit one for it"):
        library.vector("kindness", narrower)


def test_a_name_that_nothing_has_is_told(library: Library) -> None:
    with pytest.raises(VectorError, match="no vector 'kindnes': it is neither a file nor a name of"):
        library.vector("kindnes")


def test_a_file_is_read_from_where_it_lies(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.safetensors"
    files.save(made("calm"), path)
    assert library.vector(path).concept == "calm"
    assert library.vector(str(path)).concept == "calm"
    assert library.entries() == []


@pytest.mark.parametrize("name", ["pairs (1)", "<i>shouting</i>", "a/b", "..", "~", "x" * 300, "what?", "情" * 80])
def test_a_name_that_no_file_can_have_is_shortened_and_still_found(library: Library, name: str) -> None:
    path = library.keep(made(name))
    assert path.parent == library.folder
    assert len(path.name.encode()) < 220
    assert names(library) == [name]
    assert library.find(name, dataclasses.replace(FakeEngine().info, weights="a" * 64)) is not None


@pytest.mark.parametrize("words", ["I have written these words in place of a vector. " * 6, "~nobody-here"])
def test_words_in_place_of_a_vector_are_a_name_that_is_not_there(library: Library, words: str) -> None:
    with pytest.raises(VectorError, match="neither a file nor a name"):
        library.vector(words)


def test_names_that_are_shortened_alike_do_not_clash(library: Library) -> None:
    for name in ("a/b", "a?b", "a-b"):
        library.keep(made(name))
    assert names(library) == ["a-b", "a/b", "a?b"]


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_refused(library: Library, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a vector: give it a `concept`"):
        library.path(name, "")


def test_the_newest_comes_first_and_what_cannot_be_read_is_passed_over(library: Library) -> None:
    for age, name in enumerate(["new", "old"]):
        path = library.keep(made(name))
        os.utime(path, (1000 - age, 1000 - age))
    (library.folder / "torn.safetensors").write_bytes(b"\x10")
    assert [entry.name for entry in library.entries()] == ["new", "old"]


def test_a_file_of_another_name_in_the_folder_belongs_to_it_under_its_concept(library: Library) -> None:
    library.folder.mkdir()
    files.save(made("calm"), library.folder / "downloaded.safetensors")
    assert names(library) == ["calm"]


def test_what_is_meant_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_path("empathy")
    assert all(map(is_path, ("a/b", "empathy.gguf", "empathy.safetensors", Path("empathy"))))
    Path("empathy").touch()
    assert is_path("empathy")


def test_a_name_reads_only_the_files_that_can_have_it(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kindness", "calm", "a/b"):
        library.keep(made(name))
    files.save(made("odd"), library.folder / f"x~1@{'a' * 16}.safetensors")
    files.save(made("bold"), library.folder / "downloaded.safetensors")
    load, read = files.load, []
    monkeypatch.setattr(files, "load", lambda path: read.append(path.name.partition("@")[0]) or load(path))
    assert [len(library.named(name)) for name in ("calm", "x~1", "bold", "")] == [1, 1, 1, 0]
    assert set(read) == {"calm", "x~1", "downloaded.safetensors"}


def test_what_a_sweep_fitted_does_not_make_a_name_ambiguous(library: Library) -> None:
    library.keep(made(value=1.0))
    files.save(made(value=2.0), library.folder / "kindness-0123456789abcdef.safetensors")
    assert len(library.named("kindness")) == 2
    assert library.vector("kindness").directions[3].vector[0] == 1.0
