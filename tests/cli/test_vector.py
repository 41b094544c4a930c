"""`localprobe vector`: show, cosines, import, and arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from localprobe.vectors import arithmetic
from localprobe.vectors import files as vector_files
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.cli.conftest import Run
from tests.vectors.test_control_vector import foreign


@pytest.fixture
def other_file(tmp_path: Path) -> Path:
    """Another vector for the fake model, at layers 4 and 5."""
    random = np.random.default_rng(1)
    rows = {b: Direction(random.standard_normal(32).astype(np.float32), scale=8.0) for b in (4, 5)}
    path = tmp_path / "length.safetensors"
    vector_files.save(Vector("length", Origin("fake", width=32, trained_on=("p",)), rows, 5), path)
    return path


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    values = {f"direction.{b}": np.full(32, b, np.float32) for b in (2, 3)}
    return foreign(tmp_path / "happy.gguf", values)


def test_show_says_where_a_vector_comes_from(run: Run, vector_file: Path) -> None:
    ran = run("vector", "show", vector_file)
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "kindness: layers 2, 4, 2 to use"
    told = dict(line.strip().split(maxsplit=1) for line in lines[1:9])
    assert told["model"] == "fake, fake, 6 layers, width 32"
    assert told["method"] == "test"
    assert told["BOS"] == "yes"
    assert [line.split()[:2] for line in lines[-2:]] == [["2", "1.000"], ["4", "1.000"]]


def test_show_in_full_as_json(run: Run, other_file: Path) -> None:
    told = json.loads(run("vector", "show", other_file, "--json").out)
    assert (told["concept"], told["best"], told["origin"]["trained_on"]) == ("length", 5, ["p"])
    assert [(row["layer"], row["scale"]) for row in told["layers"]] == [(4, 8.0), (5, 8.0)]


def test_show_gives_the_alpha_of_a_dose_where_it_is_known(run: Run, other_file: Path) -> None:
    ran = run("vector", "show", other_file)
    length = vector_files.load(other_file).directions[5].length
    assert "alpha of dose 0.1" in ran.out
    assert ran.out.splitlines()[-1].split()[-1] == f"{0.8 / length:.2f}"


def test_show_warns_of_what_another_program_left_open(run: Run, theirs: Path) -> None:
    ran = run("vector", "show", theirs)
    assert ran.out.startswith("happy: layers 2, 3, all together")
    assert "made by      another program" in ran.out
    assert "does not say after which block its directions were measured; read as llama.cpp applies it" in ran.err


def test_cosines_of_the_layers_that_both_have(run: Run, vector_file: Path, other_file: Path) -> None:
    ran = run("vector", "cosines", vector_file, other_file, "--json")
    a, b = (vector_files.load(path).directions[4].vector for path in (vector_file, other_file))
    (found,) = json.loads(ran.out)["layers"]
    assert found == {"layer": 4, "cosine": pytest.approx(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))}
    assert f"4  {found['cosine']:+.3f}" in run("vector", "cosines", vector_file, other_file).out


@pytest.mark.parametrize(
    ("command", "concept"),
    [
        ("add", "kindness + length"),
        ("subtract", "kindness - length"),
        ("orthogonalise", "kindness without length"),
    ],
)
def test_arithmetic_of_two(
    run: Run, vector_file: Path, other_file: Path, tmp_path: Path, command: str, concept: str
) -> None:

    ran = run("vector", command, vector_file, other_file, "-o", tmp_path / "c.safetensors")
    assert ran.status == 0, ran.err
    assert ran.out.startswith(f"{concept} at layer 4, of length ")
    made = vector_files.load(tmp_path / "c.safetensors")
    expected = getattr(arithmetic, command)(vector_files.load(vector_file), vector_files.load(other_file))
    assert made.concept == concept
    np.testing.assert_array_equal(made.directions[4].vector, expected.directions[4].vector)


def test_a_result_may_have_a_name(run: Run, vector_file: Path, other_file: Path, tmp_path: Path) -> None:
    ran = run("vector", "add", vector_file, other_file, "-o", tmp_path / "c", "--concept", "kind and long", "--json")
    done = json.loads(ran.out)
    assert (done["concept"], done["layers"], done["best"]) == ("kind and long", [4], 4)
    assert vector_files.load(tmp_path / "c").concept == "kind and long"


@pytest.mark.parametrize("factor", ["0.5", "-0.5", "-1e-3"])
def test_a_factor_may_be_negative(run: Run, vector_file: Path, tmp_path: Path, factor: str) -> None:
    ran = run("vector", "scale", vector_file, factor, "-o", tmp_path / "c.safetensors")
    assert ran.status == 0, ran.err
    assert vector_files.load(tmp_path / "c.safetensors").directions[2].length == pytest.approx(abs(float(factor)))


def test_a_result_steers(run: Run, vector_file: Path, other_file: Path, tmp_path: Path) -> None:
    run("vector", "add", vector_file, other_file, "-o", tmp_path / "c.safetensors")
    ran = run(
        "steer", tmp_path / "c.safetensors", "Hi", "--dose", 0.25, "-m", "fake", "-e", "fake", "--tokens", 4, "--json"
    )
    assert json.loads(ran.out)["knobs"][0]["dose"] == pytest.approx(0.25)


def test_two_models_are_a_warning_that_names_both(run: Run, vector_file: Path, tmp_path: Path) -> None:
    vector_files.save(Vector("x", Origin("gpt2"), {2: Direction(np.ones(32, np.float32))}, 2), tmp_path / "x")
    ran = run("vector", "add", vector_file, tmp_path / "x", "-o", tmp_path / "c.safetensors")
    assert ran.status == 0
    assert "warning: 'kindness' was made for fake, 'x' for gpt2" in ran.err


@pytest.mark.parametrize(
    ("command", "second", "output", "complaint"),
    [
        ("subtract", "kindness.safetensors", "c.safetensors", "kindness - kindness leaves nothing at layers 2, 4"),
        ("orthogonalise", "kindness.safetensors", "c.safetensors", "kindness without kindness leaves nothing"),
        ("add", "none", "c.safetensors", "no vector file at "),
        ("add", "wide", "c.safetensors", "'kindness' has width 32 and 'wide' has 64"),
        ("add", "low", "c.safetensors", "'kindness' and 'low' have no layer in common"),
        (
            "add",
            "length.safetensors",
            "c.gguf",
            "write a .safetensors file here; `localprobe export` converts it to others",
        ),
        ("add", "length.safetensors", "c.npz", "write a .safetensors file here"),
        ("add", "length.safetensors", "kindness.safetensors/c", "cannot write"),
        ("scale", "0", "c.safetensors", "factor 0 leaves nothing of a vector"),
        ("scale", "inf", "c.safetensors", "factor inf is not a finite number"),
        ("scale", "half", "c.safetensors", "'half' is not a valid float"),
        ("cosines", "wide", None, "'kindness' has width 32 and 'wide' has 64"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    run: Run, vector_file: Path, other_file: Path, command: str, second: str, output: str | None, complaint: str
) -> None:
    folder = vector_file.parent
    for name, width, layer in (("wide", 64, 2), ("low", 32, 0)):
        row = Direction(np.ones(width, np.float32))
        vector_files.save(Vector(name, Origin("fake"), {layer: row}, layer), folder / name)
    before = sorted(folder.iterdir())
    argument = second if command == "scale" else folder / second
    ran = run("vector", command, vector_file, argument, *(() if output is None else ("-o", folder / output)))
    assert (ran.status, ran.out) == (2, "")
    assert complaint in ran.err
    assert sorted(folder.iterdir()) == before


def test_another_programs_file_needs_the_programs_name(run: Run, theirs: Path, tmp_path: Path) -> None:
    ran = run("vector", "import", theirs, "-o", tmp_path / "v.safetensors")
    assert (ran.status, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1
    assert "'happy' does not say after which block its directions were measured" in ran.err
    assert "--from repeng" in ran.err
    assert "--from cvector-generator" in ran.err
    assert not (tmp_path / "v.safetensors").exists()


@pytest.mark.parametrize(("program", "layers"), [("repeng", [2, 3]), ("cvector-generator", [1, 2])])
def test_another_programs_file_becomes_ours(
    run: Run, theirs: Path, tmp_path: Path, program: str, layers: list[int]
) -> None:
    ran = run(
        *("vector", "import", theirs, "-o", tmp_path / "v.safetensors", "--from", program),
        *("--concept", "joy", "--model-name", "qwen2.5-7b", "--json"),
    )
    assert ran.status == 0, ran.err
    assert json.loads(ran.out)["layers"] == layers
    vector = vector_files.load(tmp_path / "v.safetensors")
    assert (vector.concept, vector.origin.model, sorted(vector.directions)) == ("joy", "qwen2.5-7b", layers)
    assert run("vector", "show", tmp_path / "v.safetensors").err == ""  # the question is settled


@pytest.mark.parametrize("name", ["v.gguf", "v.npz"])
def test_our_own_comes_home_as_it_left(run: Run, vector_file: Path, tmp_path: Path, name: str) -> None:
    run("export", vector_file, "-o", tmp_path / name, "--layers", 2)
    ran = run("vector", "import", tmp_path / name, "-o", tmp_path / "home.safetensors")
    assert ran.out == f"kindness at layer 2, width 32, of fake -> {tmp_path}/home.safetensors\n"
    home, native = vector_files.load(tmp_path / "home.safetensors"), vector_files.load(vector_file)
    assert home.origin == native.origin
    assert home.directions[2].vector.tobytes() == native.directions[2].vector.tobytes()


@pytest.mark.parametrize(
    ("make", "args", "complaint"),
    [
        (
            lambda path: foreign(path, {"direction.1": np.ones(4, np.float32)}, "llama"),
            [],
            "a GGUF file of a llama model",
        ),
        (lambda path: path.write_bytes(b"GGUF\3\0"), [], "not a readable control vector"),
        (lambda path: path.write_bytes(b"PK\3\4"), [], "not a readable npz file"),
        (lambda path: path.write_text("hello"), [], "not a readable vector file"),
        (lambda path: foreign(path, {"direction.1": np.full(4, np.nan, np.float32)}), [], "holds NaN or infinity"),
        (lambda path: None, [], "no vector file at"),
        (lambda path: None, ["--from", "easysteer"], "'easysteer' is not one of 'repeng', 'cvector-generator'"),
    ],
)
def test_a_file_that_is_no_vector_is_refused(run: Run, tmp_path: Path, make, args: list[str], complaint: str) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "in")
    ran = run("vector", "import", tmp_path / "in", "-o", tmp_path / "out.safetensors", *args)
    assert (ran.status, ran.out) == (2, "")
    assert complaint in ran.err
    assert not (tmp_path / "out.safetensors").exists()


def test_what_steers_nothing_is_left_out_and_told(run: Run, tmp_path: Path) -> None:
    theirs = foreign(tmp_path / "v.gguf", {f"direction.{b}": np.full(32, b != 2, np.float32) for b in (0, 1, 2, 7)})
    told = "warning: v.gguf: the direction at layer 2 is zero: left out\n"
    assert run("vector", "show", theirs).err.startswith(told)
    ran = run("vector", "import", theirs, "--from", "repeng", "-o", tmp_path / "v.safetensors", "--json")
    assert (ran.status, ran.err, json.loads(ran.out)["layers"]) == (0, told, [0, 1, 7])

    options = ("--model", "fake", "--engine", "fake", "--tokens", 2)
    ran = run("steer", tmp_path / "v.safetensors", "Hello", "--alpha", 1, *options)
    assert ran.status == 0
    assert "warning: vector 'v': the direction at layer 7 is past the last block of fake (5): left out\n" in ran.err
    assert ran.err.count("[v at layer") == 2
    ran = run("steer", tmp_path / "v.safetensors", "Hello", "--alpha", 1, "--layer", 7, *options)
    assert ran.status == 2
    assert "localprobe: v has no direction at layer 7: it has layers 0, 1" in ran.err


def test_where_two_vectors_cancel_is_told(run: Run, vector_file: Path, tmp_path: Path) -> None:
    vector = vector_files.load(vector_file)
    other = Vector("other", vector.origin, {2: vector.directions[2], 4: Direction(np.ones(32, np.float32))}, 2)
    vector_files.save(other, tmp_path / "other.safetensors")
    ran = run("vector", "subtract", vector_file, tmp_path / "other.safetensors", "-o", tmp_path / "c.safetensors")
    told = "warning: kindness - other leaves nothing at layer 2, where the two are parallel: left out\n"
    assert (ran.status, ran.err) == (0, told)
    assert sorted(vector_files.load(tmp_path / "c.safetensors").directions) == [4]


def test_a_file_of_the_library_that_cannot_be_read_is_told_and_hides_none(
    run: Run, vector_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALPROBE_DATA", str(tmp_path / "data"))
    library = Library()
    library.keep(vector_files.load(vector_file))
    (library.folder / "torn.safetensors").write_bytes(b"\x10")
    (library.folder / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    ran = run("vector", "list", "--json")
    assert [each["name"] for each in json.loads(ran.out)] == ["kindness"]
    assert "torn.safetensors is not a readable vector file" in ran.err
    assert "no vector file at" in ran.err
    assert len(ran.err.splitlines()) == 2


def test_our_own_takes_no_program(run: Run, vector_file: Path, tmp_path: Path) -> None:
    ran = run("vector", "import", vector_file, "-o", tmp_path / "v.safetensors", "--from", "repeng")
    assert ran.status == 2
    assert "'kindness' is a vector of localprobe, which knows where it was measured: give no --from" in ran.err
