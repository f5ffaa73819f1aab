"""Who may send to whom: contacts, strangers, several receivers and senders, and a person who is asked."""

import pytest


def test_the_first_file_between_two_contacts_shows_both_new_keys_and_the_second_does_not(new_pair, receiver, jet):
    romeo, juliet = new_pair
    letter = romeo.file("letter.txt", b"what's in a name")
    for new in (True, False):
        receiving = receiver(juliet)
        sending = jet(romeo, "send", letter, juliet.jid).finished()
        assert (sending.code, receiving.finished().code) == (0, 0), sending
        assert (f"New key of {juliet.jid}" in sending.stderr) is new, sending
        assert (f"New key of {romeo.jid}" in receiving.stderr) is new, receiving
    assert sorted(juliet.saved) == ["letter (2).txt", "letter.txt"]


def test_login_asks_the_server_before_anything_is_written_down(home, jet):
    romeo = home(enrolled=False)
    refused = jet(romeo, *romeo.login, env={"JET_PASSWORD": "wrong"}).finished()
    assert refused.code == 4, refused
    assert not list((romeo.path / "state").glob("**/scram.json"))
    accepted = jet(romeo, *romeo.login, env={"JET_PASSWORD": romeo.password}).finished()
    assert accepted.code == 0, accepted
    [kept] = (romeo.path / "state").glob("**/scram.json")
    assert kept.stat().st_mode & 0o777 == 0o600
    files = [file.read_bytes() for file in romeo.path.rglob("*") if file.is_file()]
    assert not any(romeo.password.encode() in content for content in files)


def test_a_stranger_is_declined_and_told_so_while_the_receiver_waits_on(home, pair, receiver, jet):
    romeo, juliet = pair
    tybalt = home("tybalt")
    receiving = receiver(juliet)
    address = receiving.ready()
    refused = jet(tybalt, "send", tybalt.file("a.txt", 10), address).finished()
    assert refused.code == 9, refused
    assert refused.error.startswith(f"{address} declined 'a.txt'")
    assert receiving.wait_for(rf"jet receive --from {tybalt.jid}")
    assert receiving.code is None
    assert jet(romeo, "send", romeo.file("b.txt", 10), juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    assert list(juliet.saved) == ["b.txt"]


@pytest.mark.parametrize("allowed", ["anyone", "the sender"])
def test_a_stranger_who_is_let_in_sends_to_the_full_address(home, receiver, jet, allowed):
    romeo, juliet = home("romeo"), home("juliet")
    receiving = receiver(juliet, "--from", romeo.jid if allowed == "the sender" else allowed)
    film = romeo.file("film.mkv", 100)
    sending = jet(romeo, "send", film, receiving.ready()).finished()
    assert sending.code == 0, sending
    assert receiving.finished().code == 0, receiving
    assert juliet.saved == {"film.mkv": film.read_bytes()}


@pytest.mark.matrix
def test_only_whom_from_names_may_send(home, receiver, jet):
    romeo = home("romeo")
    tybalt = home("tybalt")
    juliet = home("juliet", contacts=[romeo, tybalt])
    receiving = receiver(juliet, "--from", romeo.jid)
    assert jet(tybalt, "send", tybalt.file("a.txt", 10), juliet.jid).finished().code == 9
    assert jet(romeo, "send", romeo.file("b.txt", 10), juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    assert list(juliet.saved) == ["b.txt"]


def test_of_two_receivers_on_one_account_one_gets_the_file(pair, receiver, jet):
    romeo, juliet = pair
    there = juliet.files / "there"
    there.mkdir()
    receivers = {receiver(juliet, "-d", directory) for directory in (juliet.files, there)}
    film = romeo.file("film.mkv", 300_000)
    sending = jet(romeo, "send", film, juliet.jid).finished()
    assert sending.code == 0, sending
    taker = next(r for r in receivers if r.ready() in sending.stderr)
    other = next(r for r in receivers if r.ready() not in sending.stderr)
    assert taker.finished().code == 0, taker
    assert other.code is None, other
    assert "offers" not in other.stderr
    assert [path.read_bytes() for path in juliet.files.glob("**/film.mkv")] == [film.read_bytes()]
    second = jet(romeo, "send", film, juliet.jid).finished()
    assert second.code == 0, second
    assert other.finished().code == 0, other


@pytest.mark.matrix
def test_several_senders_at_once_reach_one_receiver(home, receiver, jet):
    senders = [home(name) for name in ("romeo", "mercutio", "benvolio", "paris")]
    juliet = home("juliet", contacts=senders)
    receiving = receiver(juliet, "--forever")
    files = [sender.file(f"{number}.bin", 400_000) for number, sender in enumerate(senders)]
    running = [jet(sender, "send", file, juliet.jid) for sender, file in zip(senders, files, strict=True)]
    for sending in running:
        assert sending.finished().code == 0, sending
    assert juliet.saved == {file.name: file.read_bytes() for file in files}
    assert receiving.code is None
    receiving.signal(2)
    assert receiving.finished().code == 130, receiving


@pytest.mark.matrix
def test_two_senders_of_one_account_share_its_device(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, "-n", "2")
    files = [romeo.file(name, 1000) for name in ("a.txt", "b.txt")]
    for sending in [jet(romeo, "send", file, juliet.jid) for file in files]:
        assert sending.finished().code == 0, sending
    assert receiving.finished().code == 0, receiving
    assert juliet.saved == romeo.saved


@pytest.mark.matrix
def test_the_other_direction_works_as_well(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(romeo)
    sending = jet(juliet, "send", juliet.file("answer.txt", 10), romeo.jid).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), sending
    assert romeo.saved == juliet.saved


# A person at the terminal.


def test_a_person_says_yes(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, terminal=True)
    sending = jet(romeo, "send", romeo.file("film.mkv", 10), juliet.jid)
    receiving.wait_for("Accept?")
    assert "film.mkv" in receiving.stderr
    receiving.type("y\n")
    assert sending.finished().code == 0, sending
    assert receiving.finished().code == 0, receiving
    assert juliet.saved == romeo.saved


def test_a_person_says_no_and_waits_on_for_another_file(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, terminal=True)
    refused = jet(romeo, "send", romeo.file("film.mkv", 10), juliet.jid)
    receiving.wait_for("Accept?")
    receiving.type("n\n")
    assert refused.finished().code == 9, refused
    assert refused.error.startswith(f"{receiving.ready()} declined 'film.mkv'")
    assert receiving.code is None
    sending = jet(romeo, "send", romeo.file("song.ogg", 10), juliet.jid)
    receiving.wait_for(r"song\.ogg[\s\S]*Accept\?")
    receiving.type("r\n")
    receiving.wait_for("Save it as")
    receiving.type("aria.ogg\n")
    assert sending.finished().code == 0, sending
    assert receiving.finished().code == 0, receiving
    assert list(juliet.saved) == ["aria.ogg"]


@pytest.mark.matrix
def test_a_sender_who_gives_up_takes_the_question_away(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, terminal=True)
    sending = jet(romeo, "send", romeo.file("film.mkv", 10), juliet.jid)
    receiving.wait_for("Accept?")
    sending.signal(2)
    assert sending.finished().code == 130, sending
    receiving.wait_for("withdrawn by the sender")
    assert receiving.code is None
    assert juliet.saved == {}


def test_an_offer_that_nobody_answers_in_time_is_exit_6(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, terminal=True)
    sending = jet(romeo, "--timeout", "1s", "send", romeo.file("film.mkv", 10), juliet.jid).finished()
    assert sending.code == 6, sending
    assert "no answer to the offer within 1 s" in sending.error
    receiving.wait_for("withdrawn by the sender")
