"""Dino to jet, again and again: a case that fails once in twenty times is a case that fails.

Apart from the other cases, on a worker and with a Dino of its own: its window takes one file after the other.
"""

import time


def test_dino_sends_to_jet_through_a_proxy_twenty_times_in_a_row(peers, known_to_dino, cell, quick, until):
    cell("Dino", "jet", "200 kB, proxy only, 20 in a row")
    into, slowest = known_to_dino.files / "in", 0.0
    receiver = known_to_dino.receives(into, "--path", "relay", "-n", "20")
    for number in range(20):
        file = known_to_dino.file(f"proxied-{number}.bin", 200_000)
        asked = time.time()
        peers.dino_sends(file, known_to_dino.jid)
        until((into / file.name).exists, f"'{file.name}' was never saved")
        slowest = max(slowest, time.time() - peers.sent_at(asked, "session-initiate"))
        assert (into / file.name).read_bytes() == file.read_bytes()
    taken = receiver.ended()
    assert taken.code == 0, taken
    quick(receiver.online - receiver.began + slowest)
    assert "path direct" not in taken.stderr
