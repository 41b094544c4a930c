"""The fake engine passes the suite that it is the example for."""

import pytest

from localprobe.engine import Capabilities, Engine
from localprobe.fake import FakeEngine
from localprobe.testing import EngineContract


class TestFake(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return FakeEngine()

    @pytest.fixture
    def spare_engine(self) -> Engine:
        return FakeEngine()


class TestFakeThatCanDoLess(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        unable = Capabilities(row_steering=False, span_steering=False, early_stop=False, reuse=False, first_layer=1)
        return FakeEngine(capabilities=unable)


class TestFakeThatOnlyCaptures(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return FakeEngine(capabilities=Capabilities(no_decoding="keeps a recurrent state"))
