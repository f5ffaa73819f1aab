"""Transfers that end because both of their processes are killed."""

import signal

#: More than all the buffers of all the kernels between the two, and where the connection stands still.
SIZE, STALL = 32_000_000, 20_000_000


def killed_half_way(romeo, juliet, over, jet, receiver, *receive):
    """Send `film.mkv` until it stands still, kill both, and let bytes flow again; return connection and receiver."""
    connection = over(romeo, juliet, stall_after=STALL)
    film = romeo.file("film.mkv", SIZE)
    receiving = receiver(juliet, "--json", *receive)
    sending = jet(romeo, "send", film, juliet.jid)
    receiving.event("progress", lambda event: event["bytes"] > STALL - 2_000_000)
    for process in (sending, receiving):
        process.signal(signal.SIGKILL)
        process.finished()
    connection.move()
    connection.carried = 0
    return connection, receiving
