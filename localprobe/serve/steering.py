"""`/v1/steering`: the steering of requests that name none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from localprobe.checks import check_steering
from localprobe.model import Model
from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.resolve import Wanted, noticing, of_field, read, resolve
from localprobe.serve.types import Applied, Steering, Strict
from localprobe.steering import knob
from localprobe.steering.knob import Knob
from localprobe.steering.positions import Place


class SteeringRequest(Strict):
    """The body of `PUT /v1/steering`."""

    steering: Steering
    """An expression, terms, or both. Null, `false` or an empty text: requests that name none are unsteered."""


async def show_steering(call: Call[None]) -> Applied:
    """The default, and its terms on the loaded model."""
    return await applied(call, call.host.default)


async def put_steering(call: Call[SteeringRequest]) -> Applied:
    """Change the default, once it is known to work on the loaded model."""
    told = await applied(call, call.body.steering)
    call.host.default = told.steering
    return told


async def applied(call: Call[Any], steering: Steering) -> Applied:
    """A steering on the loaded model; none needs no model. ApiError for what cannot be read or applied there."""
    wanted = read(steering, None, None, default="", most=call.settings.terms)
    if not wanted.steering:
        return Applied("")
    return await call.host.hosted().run(lambda model: _applied(model, wanted))


def _applied(model: Model, wanted: Wanted) -> Applied:
    with noticing() as notices:
        resolved = resolve(model, wanted)
        of_field("steering", lambda: _check(model, resolved.knobs))
    resolved.applied.notices = list(notices)
    return resolved.applied


def _check(model: Model, knobs: Sequence[Knob]) -> None:
    """UsageError or VectorError for what the engine cannot do with any prompt."""
    anywhere = [replace(one, positions="all", gates=(), tokens=None) for one in knobs]
    check_steering(model.info, knob.steering(anywhere, Place(1)))


ENDPOINTS = [
    Endpoint(
        "GET",
        "/v1/steering",
        show_steering,
        "The steering of requests that name none",
        answer=Applied,
        errors=(400, 404, 503),
    ),
    Endpoint(
        "PUT",
        "/v1/steering",
        put_steering,
        "Change the steering of requests that name none",
        body=SteeringRequest,
        answer=Applied,
        errors=(404, 503),
        admin=True,
    ),
]
