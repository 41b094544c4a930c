"""`/v1/models`: which models there are, and which are loaded; `/health`."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType
from starlette.responses import JSONResponse

from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.errors import ApiError
from localprobe.serve.host import SOON
from localprobe.serve.hosted import Slot, State
from localprobe.serve.types import Name, Strict
from localprobe.suggest import shown


class ModelDetails(Struct, omit_defaults=True):
    """What OpenAI's list does not say of a model. Sizes are known once it is loaded."""

    state: State
    stage: str = ""
    """How far its load is."""
    error: str = ""
    engine: str | None = None
    device: str = ""
    dtype: str = ""
    quantisation: str | None = None
    architecture: str = ""
    layers: int = 0
    width: int = 0
    vocabulary: int = 0
    context: int = 0
    weights: str = ""
    """Hash of the weights."""
    chat: bool = False
    """Whether it has a chat template."""
    notes: list[str] = []
    version: str = ""
    """The libraries that compute."""
    template_args: list[str] = []
    operators: list[str] = []
    """What terms of the steering may do."""
    first_layer: int = 0
    """The lowest layer that can be steered."""
    scale: list[float] = []
    """Median residual length of every layer, the unit of a dose; only told of one model at a time."""


class ModelObject(Struct):
    id: str
    created: int
    localprobe: ModelDetails
    object: Literal["model"] = "model"
    owned_by: str = "localprobe"


class ModelList(Struct):
    data: list[ModelObject]
    object: Literal["list"] = "list"


class LoadRequest(Strict):
    """The body of `POST /v1/models/load`."""

    model: Name
    """A short name, a Hugging Face id, a folder, or a GGUF file."""
    engine: Name | None = None


class UnloadRequest(Strict):
    """The body of `POST /v1/models/unload`."""

    model: Name


class ModelHealth(Struct):
    id: str
    state: State
    stage: str | None
    error: str | None


class Health(Struct):
    """The answer of `GET /health`."""

    status: Literal["ok", "loading", "failed", "unloaded", "stopping"]
    models: list[ModelHealth]
    error: dict[str, Any] | UnsetType = UNSET


async def list_models(call: Call[None]) -> ModelList:
    """Those that can answer now."""
    return ModelList([_object(slot) for slot in call.host.slots() if slot.hosted or call.host.loads_on_request])


async def show_model(call: Call[None]) -> ModelObject:
    name = call.path["name"]
    slot = call.host.find(name)
    if slot is None:
        raise ApiError(404, f"no model {shown(name)} here: GET /v1/models lists them", code="model_not_found")
    found = _object(slot)
    if (hosted := slot.hosted) is not None:
        found.localprobe.scale = [float(x) for x in await hosted.run(lambda model: model.scale)]
    return found


async def load_model(call: Call[LoadRequest]) -> ModelObject:
    hosted = await call.host.load(call.body.model, call.body.engine)
    return next(_object(slot) for slot in call.host.slots() if slot.hosted is hosted)


async def unload_model(call: Call[UnloadRequest]) -> ModelObject:
    slot = await asyncio.to_thread(call.host.unload, call.body.model)
    return _object(slot)


async def health(call: Call[None]) -> JSONResponse:
    ready, state = call.host.status()
    return JSONResponse(state, 200 if ready else 503, headers={} if ready else {"Retry-After": str(SOON)})


def _object(slot: Slot) -> ModelObject:
    hosted = slot.hosted
    if hosted is None:
        details = ModelDetails(slot.state, slot.doing, slot.error, slot.spec.engine)
        return ModelObject(slot.name, 0, details)
    info = hosted.info
    details = ModelDetails(
        slot.state,
        engine=info.engine,
        device=info.place,
        dtype=info.dtype,
        quantisation=info.quantisation,
        architecture=info.architecture,
        layers=info.layers,
        width=info.width,
        vocabulary=info.vocabulary,
        context=info.context,
        weights=info.weights,
        chat=info.chat_template is not None,
        notes=list(info.notes),
        version=info.version,
        template_args=list(info.template_args),
        operators=list(info.capabilities.operators),
        first_layer=info.capabilities.first_layer,
    )
    return ModelObject(hosted.name, hosted.created, details)


ENDPOINTS = [
    Endpoint("GET", "/health", health, "Whether a model can answer", answer=Health, errors=(503,), open=True),
    Endpoint("GET", "/v1/models", list_models, "The models that can answer", answer=ModelList),
    Endpoint("GET", "/v1/models/{name:path}", show_model, "One model", answer=ModelObject, errors=(404,)),
    Endpoint(
        "POST",
        "/v1/models/load",
        load_model,
        "Load a model, and wait for it",
        body=LoadRequest,
        answer=ModelObject,
        errors=(404, 503),
        admin=True,
    ),
    Endpoint(
        "POST",
        "/v1/models/unload",
        unload_model,
        "Free a model",
        body=UnloadRequest,
        answer=ModelObject,
        errors=(404,),
        admin=True,
    ),
]
