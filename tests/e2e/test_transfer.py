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


def test_a_transfer_loads_nothing_that_the_libraries_would_need_for_other_things(pair, jet, receiver):
    romeo, juliet = pair
    told = {"PYTHONPROFILEIMPORTTIME": "1"}
    receiving = receiver(juliet, env=told)
    sending = jet(romeo, "send", romeo.file("a.txt", 5), juliet.jid, env=told)
    for ended in (sending.finished(), receiving.finished()):
        assert ended.code == 0, ended
        loaded = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
        assert "aioxmpp" in loaded
        # of a resolver, of certificates, of HTTP, of dates in all languages
        assert not loaded & {"dns.message", "pyasn1.type.univ", "http.client", "babel.localtime"}
