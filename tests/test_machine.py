"""What the system tells of this machine."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from localprobe import machine

CORES = """\
processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 9354: a processor

processor\t: 1
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 9354: a processor
"""


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "processor", lambda: "x86_64")
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


def test_the_processors_name_is_that_of_its_first_core(linux: Path) -> None:
    linux.write_text(CORES)
    assert machine.processor() == "AMD EPYC 9354: a processor"


def test_where_linux_names_none_python_is_asked(linux: Path) -> None:
    linux.write_text("processor\t: 0\nCPU implementer\t: 0x41\n")
    assert machine.processor() == "x86_64"
    linux.unlink()
    assert machine.processor() == "x86_64"
