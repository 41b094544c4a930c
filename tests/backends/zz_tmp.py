import pytest
from pathlib import Path
from localprobe.engine import *
from localprobe.testing import EngineContract
from localprobe_mlx import backend
class TestReal(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls):
        e=backend.load(Weights('smol', Path('/tmp/lp/smol-hf'), "folder", "x"), LoadOptions())
        yield e
        e.close()
