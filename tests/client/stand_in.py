"""Stands in for /v1/vectors."""

from __future__ import annotations

import tempfile
from pathlib import Path

from starlette.responses import JSONResponse, Response

from localprobe.serve.endpoint import Endpoint
from localprobe.serve.errors import ApiError
from localprobe.serve.resolve import library_vector
from localprobe.vectors import files
from localprobe.vectors.library import Library


async def listed(call):
    info = call.host.hosted().info
    return JSONResponse(
        {
            "object": "list",
            "data": [
                {
                    "id": e.name,
                    "concept": e.vector.concept,
                    "layers": sorted(e.vector.directions),
                    "made_for_this_model": e.made_for(info),
                }
                for e in Library().entries()
            ],
        }
    )


async def shown(call):
    info = call.host.hosted().info
    try:
        vector = library_vector(call.path["name"], info)
    except ApiError:
        raise
    except Exception as e:
        raise ApiError(404, str(e), code="vector_not_found") from e
    if call.request.query_params.get("format") == "safetensors":
        return Response(files.encoded(vector), media_type="application/octet-stream")
    return JSONResponse({"id": call.path["name"]})


async def put(call):
    if not call.settings.allow_upload:
        raise ApiError(403, "this server takes no vectors: start it with --allow-upload")
    body = await call.request.body()
    with tempfile.TemporaryDirectory() as f:
        p = Path(f) / "v.safetensors"
        p.write_bytes(body)
        v = files.load(p)
    Library().keep(v, call.path["name"])
    return JSONResponse({"id": call.path["name"]}, 201)


async def default(call):
    return JSONResponse({"steering": call.host.default})


ENDPOINTS = [
    Endpoint("GET", "/v1/vectors", listed, "x", gives=("application/json",)),
    Endpoint("GET", "/v1/steering", default, "x", gives=("application/json",)),
    Endpoint("GET", "/v1/vectors/{name}", shown, "x", gives=("application/json",)),
    Endpoint("PUT", "/v1/vectors/{name}", put, "x", gives=("application/json",)),
]
