import random

from jetcli.trial.search import Windows


def test_a_file_goes_from_one_address_to_the_other_and_nobody_else_can_read_it(pair, jet, server):
    romeo, juliet = pair
    source = romeo.files / "letter.bin"
    source.write_bytes(random.Random(1).randbytes(1_000_000))
    receiver = jet(juliet, "receive", "--accept-all")
    receiver.wait_for("Waiting as")
    sender = jet(romeo, "send", source, juliet.jid)
    assert sender.finished().code == 0, sender
    assert receiver.finished().code == 0, receiver
    arrived = juliet.files / "letter.bin"
    assert receiver.stdout == f"{arrived}\n"
    assert arrived.read_bytes() == source.read_bytes()
    assert Windows.of(source, random.Random(2)).found_in_xml(server.stanza_log) == 0
