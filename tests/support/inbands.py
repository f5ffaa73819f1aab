"""One in-band channel with the peer played by the test."""

import asyncio
from base64 import b64decode, b64encode

from jetcli.xmpp.inband_channel import InbandChannel


class Bench:
    """A channel, and what it did to the peer: blocks, acknowledgements to give, whether it hung up or was released."""

    def __init__(self, block_size=4, *, automatic=True, idle_s=5.0, modulo=65536):
        self.blocks = []
        self.acknowledgements = []
        self.arrived = asyncio.Event()
        self.hung_up = 0
        self.released = asyncio.Event()
        self.automatic = automatic
        self.channel = InbandChannel(
            block_size,
            deliver=self.deliver,
            hang_up=self.hang_up,
            released=self.released.set,
            idle_s=idle_s,
            modulo=modulo,
        )

    async def deliver(self, seq, text):
        self.blocks.append((seq, b64decode(text)))
        self.arrived.set()
        if not self.automatic:
            self.acknowledgements.append(asyncio.get_running_loop().create_future())
            await self.acknowledgements[-1]

    def hang_up(self):
        self.hung_up += 1

    def acknowledge(self):
        """Acknowledge every block that has arrived at the peer."""
        for each in self.acknowledgements:
            if not each.done():
                each.set_result(None)

    async def until(self, count):
        """Wait until the peer got so many blocks."""
        async with asyncio.timeout(5):
            while len(self.blocks) < count:
                self.arrived.clear()
                await self.arrived.wait()

    def send(self, *pieces, finish=True):
        """Send on a worker thread."""

        def work():
            for piece in pieces:
                self.channel.sendall(memoryview(piece))
            if finish:
                self.channel.finish_sending()

        return asyncio.create_task(asyncio.to_thread(work))

    def receive(self, size=64):
        """Receive once on a worker thread."""

        def work():
            buffer = bytearray(size)
            return bytes(buffer[: self.channel.recv_into(memoryview(buffer))])

        return asyncio.create_task(asyncio.to_thread(work))

    def arrive(self, seq, data):
        return self.channel.take(seq, b64encode(data).decode())
