"""`/v1/steering`: the steering of requests that name none."""

from __future__ import annotations

from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.resolve import read, resolve
from localprobe.serve.types import Applied, Strict
from localprobe.serve.types import Steering as Wanted


class SteeringRequest(Strict):
    """The body of `PUT /v1/steering`."""

    steering: Wanted
    """An expression, terms, or both. Null, `false` or an empty text: requests that name none are unsteered."""


async def show_steering(call: Call[None]) -> Applied:
    """The default, and its terms on the loaded model."""
    return await applied(call, call.host.default)


async def put_steering(call: Call[SteeringRequest]) -> Applied:
    """Change the default, once it is known to work on the loaded model."""
    told = await applied(call, call.body.steering or "")
    call.host.default = told.steering
    return told


async def applied(call: Call[object], steering: Wanted) -> Applied:
    """A steering on the loaded model. ApiError for what cannot be read or resolved."""
    wanted = read(steering or "", None, None, default="", most=call.settings.terms)
    if not wanted.steering:
        return Applied("")
    hosted = call.host.hosted()
    return (await hosted.run(lambda model: resolve(model, wanted))).applied


ENDPOINTS = [
    Endpoint(
        "GET",
        "/v1/steering",
        show_steering,
        "The steering of requests that name none",
        answer=Applied,
        errors=(400, 503),
    ),
    Endpoint(
        "PUT",
        "/v1/steering",
        put_steering,
        "Change the steering of requests that name none",
        body=SteeringRequest,
        answer=Applied,
        errors=(503,),
        admin=True,
    ),
]
