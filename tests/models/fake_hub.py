"""A Hugging Face hub on 127.0.0.1, and tiny checkpoints to put on it.

Its fixtures are used by naming them in a test file: `hub_cache, hub = fake_hub.hub_cache, fake_hub.hub`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the hub holds and what it was asked."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    broken: int = 0
    """A status to answer everything with; 0 works."""
    damage: set[str] = field(default_factory=set)
    """Files that arrive with a wrong first byte."""
    requests: list[str] = field(default_factory=list)
    """`METHOD path` of each request, and the range asked for."""
    url: str = ""

    def downloads(self) -> list[str]:
        return [each for each in self.requests if each.startswith("GET") and "/resolve/" in each]


def serve(hub: Hub) -> ThreadingHTTPServer:
    """Serve `hub` in a thread; `shutdown()` ends it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""

    def _answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        self.hub.requests.append(" ".join([self.command, path, self.headers.get("Range", "")]).strip())
        if self.hub.broken:
            return self._send(self.hub.broken, b"", {}, body)
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/tree/.*|/revision/.*)?", path):
            return self._describe(match[1], tree=(match[2] or "").startswith("/tree"), body=body)
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            return self._file(match[1], match[2], body)
        return self._send(404, b"", {}, body)

    def _describe(self, repo: str, tree: bool, body: bool) -> None:
        if repo not in self.hub.repositories:
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, body)
        files = [_entry(name, data) for name, data in self.hub.repositories[repo].items()]
        answer = files if tree else {"id": repo, "sha": COMMIT, "siblings": files}
        return self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body)

    def _file(self, repo: str, name: str, body: bool) -> None:
        data = self.hub.repositories.get(repo, {}).get(name)
        if repo in self.hub.gated:
            return self._send(403, b"", {"X-Error-Code": "GatedRepo"}, body)
        if data is None:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
        etag = _entry(name, data)["etag"]
        if name in self.hub.damage:
            data = b"?" + data[1:]
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(data))}
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(match[1])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self._send(206, data[start:], headers, body)
        return self._send(200, data, headers, body)

    def _send(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


def _entry(name: str, data: bytes) -> dict[str, object]:
    """A file as the API lists it: weights are in the large-file storage, text is not."""
    entry: dict[str, object] = {"rfilename": name, "path": name, "type": "file", "size": len(data)}
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    if not name.endswith((".safetensors", ".gguf", ".bin")):
        return {**entry, "blobId": git, "oid": git, "etag": git}
    sha256 = hashlib.sha256(data).hexdigest()
    lfs = {"sha256": sha256, "oid": sha256, "size": len(data), "pointerSize": 134}
    return {**entry, "blobId": git, "oid": git, "lfs": lfs, "etag": sha256}


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, empty and this test's own, and no network: the hub is at a port where nobody listens."""
    from huggingface_hub import constants

    _point_to(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "hub"


@pytest.fixture
def hub(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that answers, on this machine."""
    from huggingface_hub import constants

    hub = Hub()
    server = serve(hub)
    _point_to(monkeypatch, hub.url)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    yield hub
    server.shutdown()
    server.server_close()


def _point_to(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


def gguf_bytes(folder: Path, rows: int = 8) -> bytes:
    """A GGUF file with one tensor of (rows, 32) float32."""
    from gguf import GGUFWriter

    path = folder / "tiny.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_tensor("token_embd.weight", np.ones((rows, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = path.read_bytes()
    path.unlink()
    return data


def folder_files(rows: int = 8) -> dict[str, bytes]:
    """The files of a model folder with one tensor of (rows, 32) float16, as a repository holds them."""
    from safetensors.numpy import save

    return {
        "config.json": b'{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}',
        "model.safetensors": save({"model.embed_tokens.weight": np.ones((rows, 32), dtype=np.float16)}),
        "tokenizer.json": b"{}",
        "README.md": b"# a model",
    }


def write_folder(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (folder_files() if files is None else files).items():
        (folder / name).write_bytes(data)
    return folder
