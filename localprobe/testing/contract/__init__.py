"""The contract suite: the requirements of `localprobe.engine` as tests of one engine.

    from localprobe.testing import EngineContract

    class TestMine(EngineContract):
        @pytest.fixture(scope="class")
        @classmethod
        def engine(cls):
            engine = backend.load(...)
            yield engine
            engine.close()

Tests of what the engine's capabilities exclude are skipped.
"""

from localprobe.testing.contract.base import Tolerance
from localprobe.testing.contract.decoding import DecodingContract
from localprobe.testing.contract.decoding_steered import SteeredDecodingContract
from localprobe.testing.contract.forward import ForwardContract
from localprobe.testing.contract.joining import JoinContract
from localprobe.testing.contract.operators import OperatorContract
from localprobe.testing.contract.reuse import ReuseContract
from localprobe.testing.contract.steering import SteeringContract
from localprobe.testing.contract.text import TextContract

__all__ = ["EngineContract", "Tolerance"]


class EngineContract(
    TextContract,
    ForwardContract,
    SteeringContract,
    DecodingContract,
    SteeredDecodingContract,
    ReuseContract,
    JoinContract,
    OperatorContract,
):
    """The whole suite. Override the fixture `engine`, and `tolerance` only if that of the dtype is too strict."""
