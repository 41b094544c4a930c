"""Fingerprints: whatever a loader reads, and nothing that a folder says of itself."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from localprobe.errors import CorruptFile, NotDownloaded, UnknownModel
from localprobe.gguf import to_folder
from localprobe.models.weights import converted, fingerprint
from localprobe.testing.tiny import tiny_gguf
from tests.gguf.split import split_gguf
from tests.models import fake_hub
from tests.models.fake_hub import folder_files, write_folder

hub_cache = fake_hub.hub_cache

BIG = b"GGUF" + bytes(2_000_000)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCALPROBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def of_lines(**files: bytes) -> str:
    """The hash of one line `name sha256` for each file."""
    lines = [f"{name} {hashlib.sha256(data).hexdigest()}\n" for name, data in files.items()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_gguf_files_fingerprint_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(BIG)
    assert fingerprint(tmp_path / "a.gguf") == hashlib.sha256(BIG).hexdigest()


def test_a_folders_fingerprint_is_of_config_and_weights(tmp_path: Path) -> None:
    files = folder_files()
    first = fingerprint(write_folder(tmp_path / "a"))
    assert first == of_lines(**{name: files[name] for name in ("config.json", "model.safetensors")})
    assert fingerprint(write_folder(tmp_path / "b")) == first
    assert fingerprint(write_folder(tmp_path / "c", {**files, "tokenizer.json": b"[]"})) == first
    assert fingerprint(write_folder(tmp_path / "d", {**files, "config.json": b"{} "})) != first
    assert fingerprint(write_folder(tmp_path / "e", {**files, "model.safetensors": b"other"})) != first


def test_a_file_that_a_loader_prefers_to_the_index_counts(tmp_path: Path) -> None:
    """transformers loads model.safetensors if there is one, mlx-lm every model*.safetensors."""
    index = json.dumps({"weight_map": {"a": "model-00001-of-00001.safetensors"}}).encode()
    shards = {
        "config.json": b"{}",
        "model-00001-of-00001.safetensors": b"shard",
        "model.safetensors.index.json": index,
    }
    first = fingerprint(write_folder(tmp_path / "a", shards))
    assert first == of_lines(**{name: shards[name] for name in ("config.json", "model-00001-of-00001.safetensors")})
    for name in ("model.safetensors", "model-old.safetensors"):
        others = {fingerprint(write_folder(tmp_path / "b", {**shards, name: data})) for data in (b"one", b"two")}
        assert len(others | {first}) == 3
        (tmp_path / "b" / name).unlink()
    assert fingerprint(write_folder(tmp_path / "c", {**shards, "consolidated.safetensors": b"not loaded"})) == first


def test_the_weights_that_a_config_names_count(tmp_path: Path) -> None:
    """transformers loads `transformers_weights` before any other file."""
    files = {**folder_files(), "config.json": b'{"transformers_weights": "own.safetensors"}'}
    found = {fingerprint(write_folder(tmp_path / "a", {**files, "own.safetensors": data})) for data in (b"one", b"two")}
    assert len(found) == 2
    for name in ("../own.safetensors", "adapter_model.bin", 3):
        config = json.dumps({"transformers_weights": name}).encode()
        with pytest.raises(CorruptFile, match="which is no safetensors file of its folder"):
            fingerprint(write_folder(tmp_path / "b", {**files, "config.json": config}))


def test_the_settings_that_mlx_lm_takes_from_modelopt_count(tmp_path: Path) -> None:
    files = {**folder_files(), "hf_quant_config.json": b"{}"}
    assert fingerprint(write_folder(tmp_path / "a", files)) != fingerprint(write_folder(tmp_path / "b"))
    own = {**folder_files(), "config.json": b'{"quantization_config": {}}'}
    both = {**own, "hf_quant_config.json": b"{}"}  # not read
    assert fingerprint(write_folder(tmp_path / "c", both)) == fingerprint(write_folder(tmp_path / "d", own))


class TestConverted:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A folder of the cache, converted from a GGUF file of the fingerprint `abc`."""
        return to_folder(tiny_gguf("llama", tmp_path / "tiny.gguf"), "abc", converted())

    def test_it_has_the_fingerprint_of_its_source(self, folder: Path) -> None:
        assert fingerprint(folder) == "abc"

    def test_with_other_weights_it_has_their_own(self, folder: Path) -> None:
        data = bytearray((folder / "model.safetensors").read_bytes())
        data[-1] ^= 1
        (folder / "model.safetensors").write_bytes(data)
        names = ("config.json", "model.safetensors")
        assert fingerprint(folder) == of_lines(**{name: (folder / name).read_bytes() for name in names})

    @pytest.mark.parametrize("name", ["model-2.safetensors", "chat_template.jinja"])
    def test_with_a_file_more_it_is_no_longer_what_was_converted(self, folder: Path, name: str) -> None:
        (folder / name).write_bytes(b"x")
        assert fingerprint(folder) != "abc"

    def test_elsewhere_its_mark_is_not_believed(self, folder: Path, tmp_path: Path) -> None:
        copied = Path(shutil.copytree(folder, tmp_path / "copied"))
        names = ("config.json", "model.safetensors")
        expected = of_lines(**{name: (folder / name).read_bytes() for name in names})
        assert fingerprint(copied) == expected
        (copied / "model.safetensors").write_bytes(b"other weights")
        assert fingerprint(copied) not in ("abc", expected)

    def test_a_mark_that_was_brought_along_counts_for_nothing(self, tmp_path: Path) -> None:
        mark = b'{"fingerprint": "abc", "files": {}, "sha256": {}}'
        plain = fingerprint(write_folder(tmp_path / "plain"))
        assert fingerprint(write_folder(tmp_path / "a", {**folder_files(), "localprobe.json": mark})) == plain
        assert fingerprint(write_folder(tmp_path / "b", {**folder_files(), "localprobe.json": b"{"})) == plain


CODE = {
    **folder_files(),
    "config.json": b'{"auto_map": {"AutoModelForCausalLM": "modeling.Model"}}',
    "modeling.py": b"from .parts import scale",
    "parts.py": b"scale = 1",
}


class TestCode:
    """Python code counts where it may run, and only there."""

    def test_only_where_it_may_run(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "a", CODE)
        untrusted, trusted = fingerprint(folder), fingerprint(folder, code=True)
        (folder / "parts.py").write_bytes(b"scale = 2")
        assert fingerprint(folder) == untrusted != trusted
        assert fingerprint(folder, code=True) != trusted

    def test_code_that_no_config_asks_for_does_not_run(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "a", {**folder_files(), "train.py": b"pass"})
        assert fingerprint(folder, code=True) == fingerprint(folder)

    def test_the_file_that_mlx_lm_runs(self, tmp_path: Path) -> None:
        files = {**folder_files(), "config.json": b'{"model_file": "model.code"}', "model.code": b"one"}
        folder = write_folder(tmp_path / "a", files)
        before = fingerprint(folder, code=True)
        (folder / "model.code").write_bytes(b"two")
        assert fingerprint(folder, code=True) != before
        (folder / "config.json").write_bytes(b'{"model_file": "../model.code"}')
        with pytest.raises(CorruptFile, match=r"names code in '\.\./model\.code', which is not in its folder"):
            fingerprint(folder, code=True)

    def test_code_of_another_repository(self, tmp_path: Path, hub_cache: Path) -> None:
        config = b'{"auto_map": {"AutoConfig": "config.C", "AutoTokenizer": [null, "org/code--tokens.T"]}}'
        folder = write_folder(tmp_path / "a", {**folder_files(), "config.json": config})
        with pytest.raises(NotDownloaded, match=r"runs Python code of org/code, .* `hf download org/code --include"):
            fingerprint(folder, code=True)
        snapshot = hub_cache / "models--org--code" / "snapshots" / ("a" * 40)
        write_folder(snapshot, {"tokens.py": b"import other", "other.py": b"one"})
        write_folder(hub_cache / "models--org--code" / "refs", {"main": b"a" * 40})
        before = fingerprint(folder, code=True)
        (snapshot / "other.py").write_bytes(b"two")
        assert fingerprint(folder, code=True) != before

    def test_a_reference_that_is_no_repository(self, tmp_path: Path, hub_cache: Path) -> None:
        (hub_cache / "models--org--code").mkdir(parents=True)
        for reference in ("../x--m.C", "org/code--../../m.C"):
            config = json.dumps({"auto_map": {"AutoConfig": reference}}).encode()
            with pytest.raises((CorruptFile, NotDownloaded), match="code"):
                fingerprint(write_folder(tmp_path / "a", {**folder_files(), "config.json": config}), code=True)


class TestHub:
    def blob(self, cache: Path, content: bytes) -> Path:
        """A link to a file of the cache whose name says that it holds BIG."""
        real = cache / "models--org--name" / "blobs" / hashlib.sha256(BIG).hexdigest()
        real.parent.mkdir(parents=True, exist_ok=True)
        real.write_bytes(content)
        link = cache.parent / "model.gguf"
        link.unlink(missing_ok=True)
        link.symlink_to(real)
        return link

    def test_a_file_of_the_cache_is_hashed_as_any(self, hub_cache: Path) -> None:
        assert fingerprint(self.blob(hub_cache, BIG)) == hashlib.sha256(BIG).hexdigest()

    def test_one_whose_content_was_changed_is_refused(self, hub_cache: Path) -> None:
        """As by `cp other.gguf snapshot/model.gguf`, which writes through the link."""
        with pytest.raises(CorruptFile, match=r"model\.gguf is not the file that was fetched from the hub: .* delete"):
            fingerprint(self.blob(hub_cache, BIG[:-1] + b"x"))

    def test_a_name_elsewhere_says_nothing(self, tmp_path: Path, hub_cache: Path) -> None:
        other = BIG[:-1] + b"x"
        assert fingerprint(self.blob(tmp_path / "elsewhere", other)) == hashlib.sha256(other).hexdigest()


def test_a_split_files_fingerprint_is_of_all_parts(tmp_path: Path) -> None:
    files = split_gguf(tiny_gguf("llama", tmp_path / "tiny.gguf"), tmp_path / "a")
    first = fingerprint(files[0])
    assert {fingerprint(file) for file in files} == {first}
    renamed = split_gguf(tmp_path / "tiny.gguf", tmp_path / "b", name="renamed")
    assert fingerprint(renamed[2]) == first
    data = bytearray(files[2].read_bytes())
    data[-1] ^= 1
    files[2].write_bytes(data)
    assert fingerprint(files[0]) != first
    files[1].unlink()
    with pytest.raises(UnknownModel, match=r"tiny-00002-of-00003\.gguf is missing"):
        fingerprint(files[0])


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a")
    (folder / "config.json").unlink()
    with pytest.raises(CorruptFile, match=r"cannot read .*config\.json: No such file or directory"):
        fingerprint(folder)
