"""For authors of engines: the suite that every engine passes, and tiny models to run it on."""

import pytest

pytest.register_assert_rewrite("localprobe.testing.contract")  # so that failures show values

from localprobe.testing.contract import EngineContract, Tolerance  # noqa: E402

__all__ = ["EngineContract", "Tolerance"]
