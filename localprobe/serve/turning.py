"""`POST /v1/answers/{id}/steering`: the steering of an answer that is being streamed, changed in the middle of it."""

from __future__ import annotations

from msgspec import Struct

from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.errors import ApiError
from localprobe.serve.hosted import Turnable
from localprobe.serve.resolve import read
from localprobe.serve.steering import SteeringRequest
from localprobe.serve.types import Applied
from localprobe.suggest import shown


class Turned(Struct):
    """The answer of `POST /v1/answers/{id}/steering`."""

    id: str
    token: int
    """The first token of the answer that is drawn under the new steering."""
    localprobe: Applied


async def turn(call: Call[SteeringRequest]) -> Turned:
    """It acts from the next token on; null, `false` or an empty text steer no further. What was run stays as it was."""
    wanted = read(call.body.steering or "", None, None, default="", most=call.settings.terms)
    answering = _answering(call)
    token, applied = await answering.turn(wanted)
    return Turned(answering.name, token, applied)


def _answering(call: Call[SteeringRequest]) -> Turnable:
    name = call.path["name"]
    for slot in call.host.slots():
        if slot.hosted is not None and (found := slot.hosted.answering.get(name)) is not None:
            return found
    raise ApiError(404, f"no answer {shown(name)} is being generated: it may have ended", code="answer_not_found")


ENDPOINTS = [
    Endpoint(
        "POST",
        "/v1/answers/{name}/steering",
        turn,
        "Change the steering of an answer that is being streamed",
        body=SteeringRequest,
        answer=Turned,
        errors=(404, 409, 503),
    )
]
