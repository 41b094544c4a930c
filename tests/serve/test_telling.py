"""Calls on event loops from another thread."""

from __future__ import annotations

import asyncio

from localprobe.serve.telling import Teller


def test_calls_arrive_in_their_order_on_the_loop_that_they_are_for() -> None:
    teller = Teller()

    async def heard() -> list[int]:
        found: list[int] = []
        done = asyncio.Event()
        for number in range(200):
            teller.tell(asyncio.get_running_loop(), found.append, number)
        teller.tell(asyncio.get_running_loop(), lambda value: done.set(), None)
        await asyncio.wait_for(done.wait(), 10)
        return found

    assert asyncio.run(heard()) == asyncio.run(heard()) == list(range(200))


def test_a_loop_that_has_ended_harms_no_other() -> None:
    teller = Teller()
    ended = asyncio.new_event_loop()
    ended.close()
    teller.tell(ended, print, 1)

    async def heard() -> int:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        teller.tell(asyncio.get_running_loop(), future.set_result, 7)
        return await asyncio.wait_for(future, 10)

    assert asyncio.run(heard()) == 7
