"""`localprobe serve`: the API of OpenAI for local models, with steering, probes, vectors and residuals."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import Labelled, any_models_options
from localprobe.errors import EngineNotInstalled, UsageError, VectorError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NEEDED = ("starlette", "uvicorn", "prometheus_client")


class Seconds(click.FloatRange):
    """A finite number; click's own range lets nan and inf in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{value} is no number of seconds.", param, ctx)
        return seconds


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--rows", type=click.IntRange(min=1), default=16, show_default=True, help="Answers decoded at a time.")
@click.option(
    "--steer",
    "steering",
    multiple=True,
    metavar="EXPRESSION",
    help='Steering of requests that name none: "0.2 empathy". Repeat it for more.',
)
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=4096, show_default=True, help="The most tokens of an answer."
)
@click.option(
    "--deadline", type=Seconds(min=0.1), default=600, show_default=True, help="Seconds until a request fails."
)
@click.option(
    "--resident", type=click.IntRange(min=1), default=1, show_default=True, help="Models loaded at a time, at most."
)
@click.option("--load-on-request", is_flag=True, help="A request loads the MODEL that it names, if there is room.")
@click.option("--grace", type=Seconds(min=0), default=30, show_default=True, help="Seconds for answers at the end.")
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keys, one a line, of which requests carry one; LOCALPROBE_API_KEY holds one too.",
)
@click.option("--allow-host", "allow_hosts", multiple=True, metavar="NAME", help="Another name of this server.")
@click.option("--allow-origin", "allow_origins", multiple=True, metavar="ORIGIN", help="Pages that may call it.")
@click.option("--allow-upload", is_flag=True, help="Clients may store vectors in the library, and delete them.")
@click.option("--allow-admin", is_flag=True, help="Clients without a key may load models and set the steering.")
@click.option("--log-prompts", is_flag=True, help="Log what is asked and answered.")
@any_models_options
def serve(
    models: Sequence[Labelled], api_key_file: Path | None, rows: int, steering: Sequence[str], **options: Any
) -> None:
    """Serve MODEL, or the bundled one, over OpenAI's API, with steering and probes in every request.

    Any client of OpenAI works: give it the printed address followed by /v1. Requests are answered together. The first
    MODEL is loaded at once; more are loaded by POST /v1/models/load, or by --load-on-request.

    \b
    localprobe serve --steer "0.2 empathy"
    curl localhost:8765/v1/chat/completions -H "Content-Type: application/json" -d \\
      '{"messages": [{"role": "user", "content": "Hi"}], "steering": "0.3 empathy", "probes": ["empathy"]}'
    """
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise EngineNotInstalled(f"the server needs {', '.join(missing)}: run pip install 'localprobe[serve]'")
    from localprobe.scheduling.job import Limits
    from localprobe.serve.app import create_app
    from localprobe.serve.guard.keys import read_keys
    from localprobe.serve.host import Host
    from localprobe.serve.hosted import check_known
    from localprobe.serve.run import serve as run
    from localprobe.serve.settings import Settings

    settings = Settings(limits=Limits(rows=rows), steering=_default(steering), keys=read_keys(api_key_file), **options)
    specs = [model.chosen for model in models]
    if twice := [spec.name for place, spec in enumerate(specs) if spec.name in [other.name for other in specs[:place]]]:
        raise UsageError(f"{twice[0]} is named twice: requests could not tell which is meant")
    for spec in specs[: settings.resident]:
        check_known(spec)
    host = Host(specs, settings.limits, resident=settings.resident, load_on_request=settings.load_on_request)
    run(create_app(host, settings), host, settings)


def _default(steering: Sequence[str]) -> str:
    """The steering of requests that name none, in its canonical form. UsageError for what cannot be read, VectorError
    for a vector that the library has not."""
    from localprobe.serve.errors import ApiError
    from localprobe.serve.resolve import read_steering
    from localprobe.vectors.library import Library

    try:
        expressions = read_steering(list(steering))
    except ApiError as error:
        raise UsageError(f"{error}; name vectors of the library") from error
    for name in dict.fromkeys(name for expression in expressions for name in expression.names):
        if not Library().named(name):
            raise VectorError(f"no vector {name!r} in the library: `localprobe vector list` shows them")
    return "; ".join(map(str, expressions))
