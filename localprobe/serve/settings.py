"""What the options of `localprobe serve` set."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address

from localprobe.scheduling.job import Limits

PORT = 8765
KEY = "LOCALPROBE_API_KEY"
"""The variable that a server, and its clients, take a key from."""
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server behaves. Times are in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = PORT
    """0 takes any that is free."""
    limits: Limits = field(default_factory=Limits)
    """What the scheduler of each model takes on."""
    resident: int = 1
    """The most models that are loaded at a time."""
    load_on_request: bool = False
    """A request loads the model that it names."""
    steering: str = ""
    """The steering of requests that name none, when the server starts."""
    max_tokens: int = 4096
    """The most tokens of an answer."""
    default_tokens: int = 400
    """The most tokens of an answer to a request that names no number."""
    terms: int = 64
    """The most terms of a request's steering, and the most probes that it reads or watches."""
    messages: int = 1024
    """The most messages of a request."""
    deadline: float = 600.0
    """A request that is not answered by then fails."""
    grace: float = 30.0
    """How long running answers may go on once the server is told to stop."""
    body: int = MEBIBYTE
    """The most bytes of a request's body."""
    upload: int = 256 * MEBIBYTE
    """The most bytes of a vector that is uploaded."""
    header_timeout: float = 15.0
    """A request's head must come within it, and a body must not pause for longer."""
    body_timeout: float = 60.0
    """A body must come within it, large ones get a second more for every 64 KiB; and no client may leave an answer
    unread for longer."""
    connections: int = 512
    """The most connections that are answered at a time; fewer if the system allows this process fewer files."""
    keys: tuple[str, ...] = field(default=(), repr=False)
    """A request must carry one of them; empty asks for none, which only loopback addresses allow."""
    allow_upload: bool = False
    """Clients may store vectors in the library and delete them."""
    allow_admin: bool = False
    """Clients without a key may change the server's models and its steering; on loopback they may without it."""
    allow_hosts: tuple[str, ...] = ()
    """Host headers that are accepted besides loopback and the bound address."""
    allow_origins: tuple[str, ...] = ()
    """Origins whose pages may call the API."""
    log_prompts: bool = False
    """The access log holds the texts of requests and answers."""

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    @property
    def may_administer(self) -> bool:
        """Whether a request that was let in may change the server."""
        return bool(self.keys) or self.allow_admin or self.loopback


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own; a name is only if it is `localhost`."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
