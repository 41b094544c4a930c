"""What the system tells of this machine."""

from __future__ import annotations

import sys

import pytest

from localprobe.machine import processor


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="other systems may give no name")
def test_the_processor_has_one_name_in_one_line() -> None:
    name = processor()
    assert name == name.strip()
    assert "\n" not in name
    assert name == processor()
