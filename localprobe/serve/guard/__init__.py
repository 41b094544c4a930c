"""What stands between the network and the API: keys, hosts, origins, limits of bodies and connections, the stop."""

from __future__ import annotations

from starlette.types import ASGIApp

from localprobe.serve.guard.bodies import Bodies
from localprobe.serve.guard.door import Door
from localprobe.serve.guard.hosts import Hosts
from localprobe.serve.guard.keys import Keys
from localprobe.serve.guard.origins import Origins
from localprobe.serve.settings import Settings

__all__ = ["Door", "guarded"]


def guarded(app: ASGIApp, settings: Settings) -> Door:
    """The app behind every guard. A request passes the door, then its Host, its Origin, its key and the limits of its
    body are checked, in this order: a foreign page is refused before it could try keys."""
    limited = Bodies(app, settings)
    locked = Keys(limited, settings.keys)
    return Door(Hosts(Origins(locked, settings.allow_origins), settings.host, settings.allow_hosts))
