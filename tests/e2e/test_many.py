"""More files in one command than a stranger could offer."""


def test_a_command_with_many_small_files_delivers_every_one(pair, jet, receiver):
    romeo, juliet = pair
    names = [f"{number:02}.txt" for number in range(40)]
    files = [romeo.file(name, name.encode()) for name in names]
    listening = receiver(juliet, "-n", str(len(files)))
    sending = jet(romeo, "send", "--to", juliet.jid, *files).finished()
    assert (sending.code, listening.finished().code) == (0, 0), sending
    assert juliet.saved == {name: name.encode() for name in names}
