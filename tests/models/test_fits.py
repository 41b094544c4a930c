from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from localprobe.engine import LoadOptions, Weights
from localprobe.errors import OutOfMemory, UsageError
from localprobe.models import fits
from localprobe.models.checkpoint import Size
from localprobe.models.fits import BASE, LOW_BASE, least, needed
from tests.models.fake_hub import write_folder

BF16 = Size(bytes=2_000, floats=1_000, float_bytes=2_000)
FOUR_BIT = Size(bytes=600, floats=50, float_bytes=100)


@pytest.fixture(autouse=True)
def linux_without_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "has_gpu_driver", lambda: False)
    monkeypatch.setattr(fits, "is_apple_silicon", lambda: False)
    monkeypatch.setattr(fits, "_cgroups", list)
    monkeypatch.delenv(fits.IGNORE, raising=False)


def test_torch_on_the_cpu_computes_in_float32_unless_told() -> None:
    assert needed(BF16, "torch", LoadOptions()) == 4_000 + BASE
    assert needed(BF16, "torch", LoadOptions(dtype="bfloat16")) == 2_000 + BASE


def test_llama_maps_the_file_and_repacks_some() -> None:
    assert needed(Size(1_000), "llama", LoadOptions()) == 1_100 + BASE
    assert needed(Size(1_000), "llama", LoadOptions(low_memory=True)) == 1_000 + LOW_BASE
    assert least(Size(1_000), "llama", LoadOptions()) == 1_000 + LOW_BASE  # it goes to low memory by itself
    assert least(BF16, "torch", LoadOptions()) == needed(BF16, "torch", LoadOptions())


def test_llama_repacks_nothing_for_metal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "is_apple_silicon", lambda: True)
    assert needed(Size(1_000), "llama", LoadOptions()) == 1_000 + BASE
    assert needed(Size(1_000), "llama", LoadOptions(device="cpu")) == 1_100 + BASE
    assert needed(Size(1_000), "llama", LoadOptions(gpu_layers=0)) == 1_100 + BASE


def test_packed_weights_stay_packed_whatever_the_dtype() -> None:
    assert needed(FOUR_BIT, "mlx", LoadOptions(dtype="bfloat16")) == 600 + BASE
    assert needed(FOUR_BIT, "mlx", LoadOptions()) == 700 + BASE  # float32, as on any CPU


def test_a_mac_keeps_the_dtype_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "is_apple_silicon", lambda: True)
    for engine in ("mlx", "torch"):
        assert needed(BF16, engine, LoadOptions()) == 2_000 + BASE
        assert needed(BF16, engine, LoadOptions(device="cpu")) == 4_000 + BASE
    assert needed(BF16, "torch", LoadOptions(device="mps")) == 2_000 + BASE


def test_what_goes_to_a_card_is_the_engines_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert needed(BF16, "torch", LoadOptions(device="cuda:1")) is None
    monkeypatch.setattr(fits, "has_gpu_driver", lambda: True)
    assert needed(BF16, "torch", LoadOptions()) is None
    assert needed(BF16, "torch", LoadOptions(device="cpu")) == 4_000 + BASE
    assert needed(BF16, "llama", LoadOptions()) is None
    assert needed(BF16, "llama", LoadOptions(gpu_layers=0)) == 2_200 + BASE
    assert needed(BF16, "mlx", LoadOptions()) == 4_000 + BASE


def test_unknown_dtype() -> None:
    with pytest.raises(UsageError, match="dtype 'int3' is unknown: use float32, bfloat16, float16"):
        needed(BF16, "torch", LoadOptions(dtype="int3"))


def test_a_model_that_does_not_fit_is_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = Weights("big", write_folder(tmp_path / "big"), "folder", "abc")
    fits.check(weights, "torch", LoadOptions())
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=300_000_000))
    with pytest.raises(OutOfMemory) as error:
        fits.check(weights, "torch", LoadOptions())
    assert str(error.value) == (
        "big needs about 0.4 GB in engine 'torch' and 0.3 GB of memory is free: close other programs, use a smaller "
        "model, a quantised GGUF with `engine` llama, or `dtype` bfloat16, or set LOCALPROBE_IGNORE_MEMORY=1 to try"
    )
    monkeypatch.setenv("LOCALPROBE_IGNORE_MEMORY", "1")
    fits.check(weights, "torch", LoadOptions())


def test_a_file_that_fits_in_low_memory_passes_and_a_larger_one_is_told_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "big.gguf"
    with path.open("wb") as file:
        file.truncate(4_000_000_000)  # a hole, which takes no room on the disk
    weights = Weights("big", path, "gguf", "abc")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=4_300_000_000))
    fits.check(weights, "llama", LoadOptions())
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2_000_000_000))
    with pytest.raises(OutOfMemory) as error:
        fits.check(weights, "llama", LoadOptions())
    assert str(error.value) == (
        "big needs about 4.2 GB in engine 'llama' and 2.0 GB of memory is free: close other programs, use a smaller "
        "model or a file of fewer bits, let `low_memory` read weights from the disk as it goes, which is slow, or set "
        "LOCALPROBE_IGNORE_MEMORY=1 to try"
    )
    fits.check(weights, "llama", LoadOptions(low_memory=True))


def test_the_fake_always_fits() -> None:
    fits.check(Weights("fake", Path("fake"), "fake", "fake"), "fake", LoadOptions())


def limit(folder: Path, files: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name).write_text(f"{value}\n")


def test_the_tightest_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process, root = tmp_path / "cgroup", tmp_path / "sys"
    process.write_text("0::/outer/inner\n")
    stat = "anon 1\ninactive_file 300\nactive_file 7"
    limit(root / "outer", {"memory.max": 5000, "memory.current": 4000, "memory.stat": stat})
    limit(root / "outer" / "inner", {"memory.max": "max", "memory.current": 4000, "memory.stat": stat})
    folders = fits_cgroups(process, root)
    assert folders == [root / "outer" / "inner", root / "outer", root]
    monkeypatch.setattr(fits, "_cgroups", lambda: folders)
    assert fits.available() == 5000 - (4000 - 300)


def test_cgroup_version_1_inside_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process, root = tmp_path / "cgroup", tmp_path / "sys"
    process.write_text("9:name=systemd:/\n4:cpu,memory:/docker/0123\n0::/\n")  # the path of the host, not seen here
    stat = "cache 900\ntotal_inactive_file 400"
    files = {"memory.limit_in_bytes": 8000, "memory.usage_in_bytes": 2000, "memory.stat": stat}
    limit(root / "memory", files)
    folders = fits_cgroups(process, root)
    assert folders == [root / "memory", root]
    monkeypatch.setattr(fits, "_cgroups", lambda: folders)
    assert fits.available() == 8000 - (2000 - 400)


def test_no_cgroups_at_all(tmp_path: Path) -> None:
    assert fits_cgroups(tmp_path / "none", tmp_path) == []


fits_cgroups = fits._cgroups  # before the fixture above replaces it
