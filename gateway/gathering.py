"""Requests over one feature of one customer that arrive in the same tick leave as one script call.

A customer at its limit is asked about many times at once. Deciding those requests one after another inside one call
reads and writes the state once for all of them, and is as exact as a call for each: they are decided in the order they
came, each with an entry and an answer of its own.
"""

import asyncio
import time
from functools import partial
from typing import Any

import hiredis
import structlog

from gateway.entitlements import Holding, Prepared
from gateway.errors import GatewayError
from gateway.scripts import Bucket, Scripts

TOGETHER_MAX = 16
"""Requests in one script call. More would be cheaper for Redis, which takes 64, but would leave it idle for longer."""

CONSUME_MANY = "consume_many"

log = structlog.get_logger()


class Gathering:
    """The requests over one feature that wait for this tick to end."""

    __slots__ = ("bucket", "holding", "operands", "prepared", "waiting")

    def __init__(self, holding: Holding, prepared: Prepared, bucket: Bucket) -> None:
        self.holding = holding
        self.prepared = prepared
        self.bucket = bucket
        self.operands: list[bytes] = []
        self.waiting: list[asyncio.Future[list[Any]]] = []


class Gatherings:
    """What this tick has gathered, feature by feature."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._open: dict[Prepared, Gathering] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self.waiting = 0
        """Requests that have joined and have no answer yet."""

    def join(
        self, holding: Holding, prepared: Prepared, quantity: int, stamp: bytes
    ) -> "asyncio.Future[list[Any]]":
        """Decide with the others of this tick; the future gives the numbers consume would have returned.

        It raises Outage or Overloaded.
        """
        loop = asyncio.get_running_loop()
        gathering = self._open.get(prepared)
        if gathering is None:
            bucket = self._scripts.bucket(holding.bucket)
            gathering = self._open[prepared] = Gathering(holding, prepared, bucket)
            loop.call_soon(self._close, gathering)
        future: asyncio.Future[list[Any]] = loop.create_future()
        gathering.operands += (b"%d" % quantity, stamp)
        gathering.waiting.append(future)
        self.waiting += 1
        if len(gathering.waiting) == TOGETHER_MAX:
            self._close(gathering)
        return future

    def _close(self, gathering: Gathering) -> None:
        """Send what was gathered; nothing if it was full and has gone already."""
        if self._open.get(gathering.prepared) is not gathering:
            return
        del self._open[gathering.prepared]
        try:
            packed = self._packed(gathering)
            reply = self._scripts.connection.send_packed(packed)
        except GatewayError as error:
            return self._fail(gathering, error)
        except Exception as fault:
            # Whatever it is: nobody may be left waiting.
            log.exception("gathering_not_sent")
            return self._fail(gathering, fault)
        reply.add_done_callback(partial(self._replied, gathering, packed, time.perf_counter()))

    def _replied(
        self,
        gathering: Gathering,
        packed: bytes,
        started: float,
        replied: "asyncio.Future[Any]",
    ) -> None:
        error = replied.exception()
        if error is not None:
            return self._fail(gathering, error)
        self._scripts.took(time.perf_counter() - started)
        reply = replied.result()
        if isinstance(reply, list):
            return self._hand_out(gathering, reply)
        task = asyncio.ensure_future(self._again(gathering, packed, reply))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _again(self, gathering: Gathering, packed: bytes, error: hiredis.ReplyError) -> None:
        try:
            self._hand_out(gathering, await self._scripts.again(CONSUME_MANY, packed, error))
        except GatewayError as outage:
            self._fail(gathering, outage)

    def _hand_out(self, gathering: Gathering, reply: list[Any]) -> None:
        # A refusal by the fence is one answer for all.
        refused = isinstance(reply[0], int)
        answers = [reply] * len(gathering.waiting) if refused else reply
        if len(answers) != len(gathering.waiting):
            return self._fail(
                gathering, ValueError("the script answered another number of requests")
            )
        for future, answer in zip(gathering.waiting, answers, strict=True):
            if not future.done():
                future.set_result(answer)
        self.waiting -= len(gathering.waiting)
        self._scripts.heard(gathering.bucket, answers[-1])
        if not refused:
            gathering.bucket.heard(answers[-1][2], answers[-1][3])

    def _fail(self, gathering: Gathering, error: BaseException) -> None:
        for future in gathering.waiting:
            if not future.done():
                if isinstance(error, GatewayError):
                    # One exception for each: a raised one carries the trace of who awaited it.
                    future.set_exception(type(error)(error.detail))
                else:
                    future.set_exception(error)
        self.waiting -= len(gathering.waiting)

    def _packed(self, gathering: Gathering) -> bytes:
        """EVALSHA as RESP, in the order of the header of lua/consume_many.lua, mostly of parts kept with the feature."""
        holding, prepared = gathering.holding, gathering.prepared
        run_id, replid = server = self._scripts.server()
        if prepared.packed is None or prepared.packed[0] is not server:
            bucket = gathering.bucket
            head = _bulks(
                *(b"EVALSHA", self._scripts.sha[CONSUME_MANY], b"4"),
                *(bucket.meta, bucket.log, holding.key, prepared.key),
                *(run_id.encode(), replid.encode(), b"%d" % holding.version),
            )
            tail = _bulks(holding.customer.encode(), *prepared.shared)
            prepared.packed = (server, head, tail)
        _, head, tail = prepared.packed
        asked = prepared.ask
        moment = _bulks(gathering.bucket.moment(asked.valid_from_ms, asked.valid_until_ms))
        count = b"*%d\r\n" % (17 + len(gathering.operands))
        return b"".join((count, head, moment, tail, _bulks(*gathering.operands)))


def _bulks(*values: bytes) -> bytes:
    """RESP bulk strings, one after another."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(value), value) for value in values])
