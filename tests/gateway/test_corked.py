"""Writes of one tick leave together and in order; closing loses none."""

import asyncio

from gateway.corked import Corked


class Received(asyncio.Protocol):
    """The server's end of a connection: what arrived, and whether it was closed."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


class Counted(asyncio.Protocol):
    """The client's end, corked; how often the transport below was written to is counted."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.writes: list[bytes] = []
        plain_write = transport.write

        class Below:
            def write(_, data: bytes) -> None:
                self.writes.append(data)
                plain_write(data)

            def __getattr__(_, name: str) -> object:
                return getattr(transport, name)

        self.corked = Corked(asyncio.get_running_loop(), Below())  # type: ignore[arg-type]


async def connected() -> tuple[Counted, Received, asyncio.Server]:
    loop = asyncio.get_running_loop()
    received = Received()
    server = await loop.create_server(lambda: received, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    _, client = await loop.create_connection(Counted, host, port)
    return client, received, server


async def test_one_write_for_head_and_body() -> None:
    client, received, server = await connected()
    client.corked.write(b"head ")
    client.corked.write(b"body")
    assert client.writes == []
    await asyncio.sleep(0)
    assert client.writes == [b"head body"]
    client.corked.write(b" next")
    client.corked.close()
    assert client.corked.is_closing()
    await asyncio.wait_for(received.ended.wait(), 5)
    assert b"".join(received.chunks) == b"head body next"
    assert len(client.writes) == 2
    server.close()
