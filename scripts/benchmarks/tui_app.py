"""The terminal app on llama.cpp: how soon a key shows while an answer comes, what the app costs it, and its start."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from textual._compositor import CompositorUpdate
from textual.events import Key

from benchmarks.plain import LOCALPROBE, WAIT, Plain
from benchmarks.timing import PROMPT, limit, row
from localprobe_tui.app import LocalprobeApp

MODEL, ENGINE, TOKENS, ROUNDS = "smollm2-135m", "llama", 400, 7
KEYS = 80
MARKS = "①②③④⑤⑥⑦⑧⑨⑩"  # typed, and looked for in what goes to the terminal: no model says them
LIMIT = 0.1
LOST = 2.0  # seconds that a key counts with if it does not show at all


class Shown(LocalprobeApp):
    """The app without a terminal, which writes what a terminal would get into `seen`."""

    def __init__(self) -> None:
        super().__init__(MODEL, ENGINE)
        self.seen: Callable[[str], None] = lambda text: None

    def _display(self, screen: Any, renderable: Any) -> None:
        super()._display(screen, renderable)
        if isinstance(renderable, CompositorUpdate):
            self.seen(renderable.render_segments(self.console))


async def until(true: Callable[[], object], what: str) -> None:
    """Wait as the app's own loop runs."""
    end = time.monotonic() + WAIT
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"the app: {what} did not come within {WAIT:.0f} s")
        await asyncio.sleep(0.005)


async def app_rate(app: Shown, first: bool) -> float:
    """Tokens a second of an answer in the app, from its first token to its last, as the chat gets them."""
    times: list[tuple[float, int]] = []

    def told() -> None:
        if app.talk.answering and (count := len(app.talk.answering[0].pieces)):
            times.append((time.perf_counter(), count))

    app.talk.listen(told)
    try:
        await (app.talk.send(PROMPT) if first else app.talk.regenerate())
    finally:
        app.talk.unlisten(told)
    (start, one), (end, all_) = times[0], next(each for each in times if each[1] == times[-1][1])
    return (all_ - one) / (end - start)


async def key_times(app: Shown) -> list[float]:
    """Seconds from a key to the bytes that show it, while answers come."""
    times: list[float] = []
    while len(times) < KEYS:
        answer = asyncio.create_task(app.talk.regenerate())
        while not answer.done() and not (app.talk.answering and app.talk.answering[0].pieces):
            await asyncio.sleep(0.005)
        while app.talk.answering and len(times) < KEYS:
            mark, shown = MARKS[len(times) % len(MARKS)], asyncio.Event()
            app.seen = lambda text, mark=mark, shown=shown: shown.set() if mark in text else None  # type: ignore[misc]
            start = time.perf_counter()
            app.post_message(Key(mark, mark))
            with suppress(TimeoutError):
                await asyncio.wait_for(shown.wait(), LOST)
            if app.talk.answering:
                times.append(time.perf_counter() - start)
            app.seen = lambda text: None
            app.post_message(Key("backspace", None))
            await asyncio.sleep(0.06 + 0.05 * (len(times) % 7) / 7)  # at another moment of the frame each time
        app.talk.stop()
        await answer
    return times


async def streaming() -> tuple[list[float], list[float], list[float]]:
    """Rates of the app, rates of --plain, and the times of keys."""
    app, plain = Shown(), Plain(MODEL, ENGINE, "--tokens", str(TOKENS))
    try:
        async with app.run_test(size=(120, 36)):
            await until(lambda: app.session.state == "ready", "the model")
            app.talk.sampling = type(app.talk.sampling)(temperature=0, tokens=TOKENS)  # the same text each time
            ours, others = [], []
            for i in range(ROUNDS + 1):
                ours.append(await app_rate(app, i == 0))
                others.append(await asyncio.to_thread(plain.rate))
                print(f"tok/s: {ours[-1]:.1f} in the app, {others[-1]:.1f} plain", file=sys.stderr)
            return ours[1:], others[1:], await key_times(app)
    finally:
        plain.close()


def first_frame() -> float:
    """Seconds from the start of the process to the prompt on a terminal."""
    master, slave = pty.openpty()
    start = time.perf_counter()
    process = subprocess.Popen(
        [LOCALPROBE, "tui", MODEL],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(slave)
    seen = b""
    try:
        while b"Say something below" not in seen:
            seen += os.read(master, 65536)
        return time.perf_counter() - start
    finally:
        process.terminate()
        while select.select([master], [], [], 0.2)[0]:
            try:
                os.read(master, 65536)
            except OSError:
                break
        process.wait()
        os.close(master)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LOCALPROBE_DATA"] = folder
        ours, others, keys = asyncio.run(streaming())
        starts = [first_frame() for _ in range(6)][1:]
    late = float(np.percentile(keys, 95))
    rate, plain = statistics.median(ours), statistics.median(others)
    print(
        json.dumps(
            [
                row(
                    f"tui: decode rate in the app against `localprobe chat --plain`, {MODEL}",
                    1 / rate,
                    1 / plain,
                    1,
                    "tok/s",
                    0.9,
                ),
                limit(
                    f"tui: a key shows while an answer comes, 95th percentile of {KEYS}",
                    1000 * late,
                    1000 * LIMIT,
                    "ms",
                    1.0,
                ),
                limit("tui: the first frame after the start of the process", statistics.median(starts), 1.0, "s", 1.0),
            ]
        )
    )


main()
