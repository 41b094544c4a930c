"""The cached folder: right, made once, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from localprobe.errors import CorruptFile, LocalprobeError, ModelError, UnsupportedModel, UsageError
from localprobe.gguf import folder as module
from localprobe.gguf import read_header, to_folder
from localprobe.testing.tiny import GGUF_ARCHITECTURES, tiny_folder, tiny_gguf

KEPT = ("model_type", "hidden_size", "num_hidden_layers", "tie_word_embeddings", "rope_theta", "rope_parameters")


@pytest.mark.parametrize("architecture", GGUF_ARCHITECTURES)
def test_weights_and_config_of_the_folder_it_came_from(architecture: str, tmp_path: Path) -> None:
    source = tiny_folder(architecture, tmp_path / "source")
    folder = to_folder(tiny_gguf(architecture, tmp_path / "m.gguf"), "f", tmp_path / "cache")
    expected, found = load_file(source / "model.safetensors"), load_file(folder / "model.safetensors")
    assert found.keys() == expected.keys()
    for name in expected:  # Gemma's norms lose a bit to the 1 that is added and taken off
        np.testing.assert_allclose(found[name], expected[name], atol=1e-7 if "gemma" in architecture else 0)
    configs = [json.loads((path / "config.json").read_text()) for path in (source, folder)]
    assert [{key: config[key] for key in KEPT} for config in configs] == [
        {key: configs[0][key] for key in KEPT},
    ] * 2
    for name in ("generation_config.json", "tokenizer_config.json"):
        theirs, ours = (json.loads((path / name).read_text()) for path in (source, folder))
        assert {key: value for key, value in theirs.items() if value is not None}.items() <= ours.items()


def test_it_is_made_once(tiny: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    first = to_folder(tiny, "abc", tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert first.name == "abc-float32-v1"
    assert seen[-1][0] == seen[-1][1] == sum(load.nbytes for load in load_file(first / "model.safetensors").values())
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    stamp = (first / "model.safetensors").stat().st_mtime_ns
    assert to_folder(tiny, "abc", tmp_path, progress=lambda done, total: pytest.fail("made again")) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == stamp
    assert only_folders(tmp_path) == ["abc-float32-v1"]


def test_the_mark_names_source_and_versions(tiny: Path, tmp_path: Path) -> None:
    mark = json.loads((to_folder(tiny, "sha:1", tmp_path) / "localprobe.json").read_text())
    assert mark["fingerprint"] == "sha:1"
    assert mark["source"] == "tiny.gguf"
    assert mark["dtype"] == "float32"
    assert mark["files"]["model.safetensors"] > 0
    weights = (tmp_path / "sha_1-float32-v1" / "model.safetensors").read_bytes()
    assert mark["sha256"]["model.safetensors"] == hashlib.sha256(weights).hexdigest()


def test_another_dtype_is_another_folder(tiny: Path, tmp_path: Path) -> None:
    for dtype, short in (("float32", "F32"), ("bfloat16", "BF16"), ("float16", "F16")):
        folder = to_folder(tiny, "abc", tmp_path, dtype=dtype)  # type: ignore[arg-type]
        assert f'"{short}"'.encode() in (folder / "model.safetensors").read_bytes()[:4000]
        assert json.loads((folder / "config.json").read_text())["dtype"] == dtype
    assert len(only_folders(tmp_path)) == 3


def test_dtype_by_size(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FLOAT32_LIMIT", 1000)
    assert to_folder(tiny, "abc", tmp_path).name == "abc-bfloat16-v1"


def test_gemma_is_never_float16(tmp_path: Path) -> None:
    path = tiny_gguf("gemma3_text", tmp_path / "m.gguf")
    with pytest.raises(UsageError, match="take bfloat16 or float32"):
        to_folder(path, "abc", tmp_path, dtype="float16")
    with pytest.raises(UsageError, match="'int8' is not one of"):
        to_folder(path, "abc", tmp_path, dtype="int8")  # type: ignore[arg-type]


def test_a_fingerprint_is_no_path(tiny: Path, tmp_path: Path) -> None:
    assert to_folder(tiny, "../../x:y", tmp_path / "cache").parent == tmp_path / "cache"
    with pytest.raises(UsageError, match="must not be empty"):
        to_folder(tiny, "", tmp_path)


@pytest.mark.parametrize(
    "damage", ["mark", "shard", "half a shard", "torn mark", "other weights", "no hashes", "a file more"]
)
def test_a_damaged_folder_is_made_again(tiny: Path, tmp_path: Path, damage: str) -> None:
    folder = to_folder(tiny, "abc", tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    match damage:
        case "mark":
            (folder / "localprobe.json").unlink()
        case "torn mark":
            (folder / "localprobe.json").write_text("[1")
        case "shard":
            (folder / "model.safetensors").unlink()
        case "other weights":
            (folder / "model.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        case "no hashes":  # as versions before 0.2 wrote it
            mark = json.loads((folder / "localprobe.json").read_text())
            del mark["sha256"]
            (folder / "localprobe.json").write_text(json.dumps(mark))
        case "a file more":  # which transformers would load too
            (folder / "generation.safetensors").write_bytes(whole)
        case _:
            (folder / "model.safetensors").write_bytes(whole[:1000])
    again = to_folder(tiny, "abc", tmp_path)
    assert (again / "model.safetensors").read_bytes() == whole
    assert sorted(json.loads((again / "localprobe.json").read_text())["sha256"]) == sorted(
        file.name for file in again.iterdir() if file.name != "localprobe.json"
    )


def only_folders(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), MemoryError(), OSError(errno.EIO, "Input/output error")])
def test_nothing_is_left_of_a_failure(tiny: Path, tmp_path: Path, problem: BaseException) -> None:
    def fail(done: int, total: int) -> None:
        raise problem

    with pytest.raises(type(problem) if not isinstance(problem, OSError) else ModelError):
        to_folder(tiny, "abc", tmp_path, progress=fail)
    assert only_folders(tmp_path) == []
    assert to_folder(tiny, "abc", tmp_path).is_dir()


def test_a_disk_that_is_full_before(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage("/"))(10**12, 10**12, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ModelError, match=r"converting tiny.gguf takes 0.1 GB in .* which has 0.0 GB left: free some"):
        to_folder(tiny, "abc", tmp_path)
    assert only_folders(tmp_path) == []


def test_a_disk_that_fills_up(tiny: Path, tmp_path: Path) -> None:
    def full(done: int, total: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ModelError, match=r"the disk filled up while converting tiny.gguf, which takes 0.1 GB in"):
        to_folder(tiny, "abc", tmp_path, progress=full)
    assert only_folders(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tiny: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ModelError, match="Permission denied"):
        to_folder(tiny, "abc", tmp_path / "cache")


def test_a_cache_that_is_a_file(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(ModelError, match="cannot convert"):
        to_folder(tiny, "abc", tmp_path / "cache")


SLOW = """
import sys, time
from pathlib import Path
from localprobe.gguf import to_folder
to_folder(sys.argv[1], "abc", Path(sys.argv[2]),
          progress=lambda done, total: (print(done, flush=True), time.sleep(0.05)))
"""


def start(tiny: Path, cache: Path) -> subprocess.Popen[str]:
    """A conversion that takes seconds, in a process of its own, that has begun to write."""
    process = subprocess.Popen([sys.executable, "-c", SLOW, tiny, cache], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.usefixtures("signals_heard")
def test_a_process_that_is_stopped(tiny: Path, tmp_path: Path, how: signal.Signals) -> None:
    process = start(tiny, tmp_path)
    process.send_signal(how)
    process.communicate()
    left = only_folders(tmp_path)
    assert all(name.endswith(".part") for name in left)
    assert len(left) == (how == signal.SIGKILL)  # Ctrl-C has time to tidy up
    folder = to_folder(tiny, "abc", tmp_path)
    assert only_folders(tmp_path) == [folder.name]


@pytest.mark.slow
def test_the_second_of_two_processes_waits_for_the_first(tiny: Path, tmp_path: Path) -> None:
    process = start(tiny, tmp_path)
    folder = to_folder(tiny, "abc", tmp_path, progress=lambda done, total: pytest.fail("made twice"))
    assert process.wait(timeout=120) == 0
    assert load_file(folder / "model.safetensors")
    process.communicate()


def convert(tiny: Path, cache: Path) -> str:
    return str(to_folder(tiny, "abc", cache))


@pytest.mark.slow
def test_many_processes_at_once(tiny: Path, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        folders = pool.starmap(convert, [(tiny, tmp_path)] * 6)
    assert len(set(folders)) == 1
    assert only_folders(tmp_path) == ["abc-float32-v1"]


def changed(tiny: Path, path: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Convert a GGUF whose metadata were changed."""
    original = read_header(tiny)
    change(original.metadata)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "read_model", lambda _: original)
        to_folder(tiny, "abc", path)


@pytest.mark.parametrize(
    ("key", "value", "error", "message"),
    [
        ("general.architecture", "bert", UnsupportedModel, "architecture 'bert'; only llama, qwen2"),
        ("general.architecture", None, CorruptFile, "general.architecture is missing"),
        ("llama.expert_count", 8, UnsupportedModel, "mixture of experts"),
        ("llama.block_count", None, CorruptFile, "llama.block_count is missing"),
        ("llama.block_count", 10**6, CorruptFile, "claims 1,000,000 layers"),
        ("llama.block_count", 5, CorruptFile, "the tensor blk.4.attn_norm.weight is missing"),
        ("llama.block_count", 3, UnsupportedModel, "holds the tensor 'blk.3"),
        ("llama.embedding_length", 0, CorruptFile, "embedding_length is 0"),
        ("llama.embedding_length", "x", CorruptFile, "embedding_length is 'x'"),
        ("llama.embedding_length", 128, CorruptFile, "has the shape"),
        ("llama.attention.head_count", np.array([4, 2]), UnsupportedModel, "differs from layer to layer"),
        ("llama.attention.key_length", 15, CorruptFile, "heads are 15 wide, an odd number"),
        ("llama.attention.value_length", 8, UnsupportedModel, "keys and values differ"),
        ("llama.attention.layer_norm_rms_epsilon", float("nan"), CorruptFile, "epsilon is nan"),
        ("tokenizer.ggml.tokens", [str(i) for i in range(1000)], CorruptFile, "1000 tokens, its embedding only"),
        ("tokenizer.ggml.pre", "new", UnsupportedModel, "by the rule 'new'"),
    ],
)
def test_a_model_that_cannot_be_converted(
    tiny: Path, tmp_path: Path, key: str, value: object, error: type[LocalprobeError], message: str
) -> None:
    def change(metadata: dict[str, object]) -> None:
        metadata[key] = value
        if value is None:
            del metadata[key]
        if key == "llama.attention.key_length":
            metadata["llama.attention.value_length"] = value
        if key == "tokenizer.ggml.tokens":
            del metadata["tokenizer.ggml.token_type"]
            metadata["tokenizer.ggml.merges"] = ["1 2"]

    with pytest.raises(error, match=message):
        changed(tiny, tmp_path / "cache", change)
    assert not (tmp_path / "cache").exists() or only_folders(tmp_path / "cache") == []


def test_no_weights_at_all(smollm2: Path, tmp_path: Path) -> None:
    header = read_header(smollm2)
    header.tensors.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "read_model", lambda _: header)
        with pytest.raises(CorruptFile, match="holds no weights"):
            to_folder(smollm2, "abc", tmp_path)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4))
def test_any_file_is_converted_or_refused(tiny: Path, tmp_path: Path, edits: list[tuple[float, bytes]]) -> None:
    """Bytes of the header changed at random: never another exception, never a half-written folder."""
    data = bytearray(tiny.read_bytes())
    end = min(info.offset for info in read_header(tiny).tensors.values())
    for place, new in edits:
        at = int(place * (end - 8))
        data[at : at + len(new)] = new
    path = tmp_path / "changed.gguf"
    path.write_bytes(data)
    try:
        shutil.rmtree(to_folder(path, "abc", tmp_path / "cache"))
    except LocalprobeError as error:
        assert "\n" not in str(error)
    assert not (tmp_path / "cache").exists() or only_folders(tmp_path / "cache") == []


PEAK = """
import sys
from pathlib import Path
from localprobe.gguf import to_folder
to_folder(sys.argv[1], "abc", Path(sys.argv[2]))
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's peak after exec")
def test_smollm2_is_converted_in_little_memory(smollm2: Path, scratch: Path) -> None:
    cache = scratch / "peak"
    result = subprocess.run([sys.executable, "-c", PEAK, smollm2, cache], check=True, capture_output=True, text=True)
    assert int(result.stdout) * 1024 < 250e6  # the folder has 538 MB
    shutil.rmtree(cache)
