"""The session machine, verb by verb; whole conversations between two of them are in tests/pair."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetcli.errors import InterruptedTransferError, NetworkError, RemoteProtocolError, UnavailableError
from jetcli.protocol import effects as fx
from jetcli.protocol import model
from jetcli.protocol.session import Session
from jetcli.protocol.table import PATH_TABLE, SESSION_TABLE, OutOfOrderError, Path, State, Turn, next_state

ADA, BOB = "ada@north.example/jet.1", "bob@south.example/jet.2"
INBAND = model.InbandTransport("ibb-1", 4096)


def candidate(cid: str, kind=model.CandidateType.DIRECT, rank: int = 0) -> model.Candidate:
    return model.Candidate(cid, "198.51.100.7", 40000, ADA, (kind.preference << 16) + 65535 - rank, kind)


def socks5(*candidates: model.Candidate) -> model.Socks5Transport:
    return model.Socks5Transport("s5b-1", candidates, "d5")


def offer(transport: model.Transport | None = None) -> model.Content:
    file = model.FileDescription("a.txt", 16)
    return model.Content("initiator", "ft-1", "initiator", file, transport or socks5(candidate("a-d")))


def sent(effects: list[fx.Effect]) -> list[model.Action]:
    return [effect.action for effect in effects if isinstance(effect, fx.Send)]


def only(kind, effects):
    (found,) = [effect for effect in effects if isinstance(effect, kind)]
    return found


def initiator(**options) -> Session:
    session = Session("J-1", ADA, BOB, **{"inband": INBAND} | options)
    session.initiate(offer())
    return session


def active_initiator(theirs: model.Transport | None = None, **options) -> Session:
    session = initiator(**options)
    session.receive(model.Accept("J-1", offer(theirs or socks5(candidate("b-d"))), BOB))
    return session


def responder(transport: model.Transport | None = None, **options) -> Session:
    session = Session("J-1", BOB, ADA, **{"inband": INBAND} | options)
    session.receive(model.Initiate("J-1", offer(transport), ADA))
    return session


def info(note: model.TransportNote, sid: str = "s5b-1") -> model.TransportInfo:
    return model.TransportInfo("J-1", "initiator", "ft-1", "initiator", sid, note)


@pytest.mark.parametrize("table", [SESSION_TABLE, PATH_TABLE], ids=["session", "path"])
def test_every_pair_of_state_and_turn_either_moves_as_listed_or_is_out_of_order(table):
    states = State if table is SESSION_TABLE else Path
    for state in states:
        for turn in Turn:
            if (state, turn) in table:
                assert next_state(table, state, turn) is table[state, turn]
            else:
                with pytest.raises(OutOfOrderError):
                    next_state(table, state, turn)


def test_nothing_leads_out_of_an_ended_session_or_a_failed_transport():
    assert not [turn for state, turn in SESSION_TABLE if state is State.ENDED]
    assert not [turn for path, turn in PATH_TABLE if path is Path.FAILED]


def test_nothing_is_replaced_once_bytes_have_moved():
    assert (Path.FLOWING, Turn.REPLACE) not in PATH_TABLE
    assert (Path.FLOWING, Turn.GIVE_UP) not in PATH_TABLE


def test_an_offer_is_sent_and_waits_for_its_answer():
    effects = Session("J-1", ADA, BOB).initiate(offer())
    assert sent(effects) == [model.Initiate("J-1", offer(), ADA)]
    assert only(fx.StartDeadline, effects) == fx.StartDeadline(fx.Wait.ACCEPTANCE, 600.0)


def test_an_offer_that_nobody_answers_ends_with_a_timeout():
    session = initiator()
    effects = session.deadline_passed(fx.Wait.ACCEPTANCE)
    assert sent(effects) == [model.Terminate("J-1", model.Reason("timeout"))]
    assert isinstance(only(fx.Ended, effects).error, UnavailableError)


def test_an_offer_that_names_another_initiator_than_its_sender_is_refused_and_changes_nothing():
    session = Session("J-1", BOB, ADA)
    with pytest.raises(RemoteProtocolError):
        session.receive(model.Initiate("J-1", offer(), "mallory@north.example/x"))
    assert session.state is State.IDLE


def test_accepting_dials_the_peers_candidates_best_first():
    low, high = candidate("a-p", model.CandidateType.PROXY), candidate("a-d")
    session = responder(socks5(low, high))
    effects = session.accept(offer(socks5()))
    assert only(fx.Dial, effects).candidates == (high, low)


def test_a_candidate_that_both_sides_prefer_is_used():
    session = active_initiator(socks5(candidate("b-d")))
    assert sent(session.dialled(candidate("b-d"))) == [info(model.CandidateUsed("b-d"))]
    effects = session.receive(info(model.CandidateError()))
    assert only(fx.UseSocks5, effects) == fx.UseSocks5(candidate("b-d"), owned=False)
    assert session.path is Path.OPEN


def test_a_choice_that_comes_before_the_accept_is_kept():
    session = initiator()
    assert session.receive(info(model.CandidateUsed("a-d"))) == []
    session.receive(model.Accept("J-1", offer(socks5()), BOB))
    effects = session.dialled(None)
    assert only(fx.UseSocks5, effects) == fx.UseSocks5(candidate("a-d"), owned=True)


def test_a_choice_that_outranks_what_is_left_spares_the_other_dials():
    session = active_initiator()
    effects = session.receive(info(model.CandidateUsed("a-d")))
    assert only(fx.DialAbove, effects) == fx.DialAbove(candidate("a-d").priority)


def test_a_candidate_that_was_never_offered_cannot_be_used():
    session = active_initiator()
    with pytest.raises(RemoteProtocolError):
        session.receive(info(model.CandidateUsed("zzz")))


def test_a_nominated_proxy_of_ours_is_activated_and_announced():
    proxy = candidate("a-p", model.CandidateType.PROXY)
    session = Session("J-1", ADA, BOB, inband=INBAND)
    session.initiate(offer(socks5(proxy)))
    session.receive(model.Accept("J-1", offer(socks5()), BOB))
    session.dialled(None)
    effects = session.receive(info(model.CandidateUsed("a-p")))
    assert only(fx.Activate, effects) == fx.Activate("s5b-1", proxy)
    effects = session.activated(True)
    assert sent(effects) == [info(model.Activated("a-p"))]
    assert only(fx.UseSocks5, effects) == fx.UseSocks5(proxy, owned=True)


def test_a_proxy_that_cannot_be_activated_leads_to_in_band():
    proxy = candidate("a-p", model.CandidateType.PROXY)
    session = Session("J-1", ADA, BOB, inband=INBAND)
    session.initiate(offer(socks5(proxy)))
    session.receive(model.Accept("J-1", offer(socks5()), BOB))
    session.dialled(None)
    session.receive(info(model.CandidateUsed("a-p")))
    actions = sent(session.activated(False))
    assert actions[0] == info(model.ProxyError())
    assert isinstance(actions[1], model.TransportReplace)
    assert session.path is Path.REPLACING


def test_the_responder_waits_for_the_activation_of_the_peers_proxy():
    proxy = candidate("a-p", model.CandidateType.PROXY)
    session = responder(socks5(proxy))
    session.accept(offer(socks5()))
    session.receive(info(model.CandidateError()))
    effects = session.dialled(proxy)
    assert not [effect for effect in effects if isinstance(effect, fx.UseSocks5)]
    effects = session.receive(info(model.Activated("a-p")))
    assert only(fx.UseSocks5, effects) == fx.UseSocks5(proxy, owned=False)


def test_when_nothing_is_reached_the_initiator_proposes_in_band_and_opens_it():
    session = active_initiator()
    session.dialled(None)
    effects = session.receive(info(model.CandidateError()))
    (replace,) = sent(effects)
    assert replace.content.transport == INBAND
    answer = model.Content("initiator", "ft-1", transport=model.InbandTransport("ibb-1", 1024))
    effects = session.receive(model.TransportAccept("J-1", answer))
    assert only(fx.UseInband, effects) == fx.UseInband(model.InbandTransport("ibb-1", 1024), open_it=True)


def test_the_responder_follows_a_replacement_while_it_still_believes_in_a_candidate():
    session = responder()
    session.accept(offer(socks5(candidate("b-d"))))
    session.receive(info(model.CandidateUsed("b-d")))
    session.dialled(None)
    assert session.path is Path.OPEN
    proposal = model.Content("initiator", "ft-1", transport=model.InbandTransport("ibb-9", 8192))
    effects = session.receive(model.TransportReplace("J-1", proposal))
    assert fx.DropTransport() in effects
    assert only(fx.UseInband, effects) == fx.UseInband(model.InbandTransport("ibb-9", 4096), open_it=False)


def test_a_replacement_after_the_first_byte_is_out_of_order():
    session = responder()
    session.accept(offer(socks5(candidate("b-d"))))
    session.receive(info(model.CandidateUsed("b-d")))
    session.dialled(None)
    session.first_byte()
    proposal = model.Content("initiator", "ft-1", transport=model.InbandTransport("ibb-9", 8192))
    with pytest.raises(OutOfOrderError):
        session.receive(model.TransportReplace("J-1", proposal))
    assert session.path is Path.FLOWING


def test_a_responder_without_in_band_rejects_the_replacement_and_ends():
    session = responder(inband=None)
    session.accept(offer(socks5()))
    proposal = model.Content("initiator", "ft-1", transport=model.InbandTransport("ibb-9", 8192))
    effects = session.receive(model.TransportReplace("J-1", proposal))
    assert [type(action) for action in sent(effects)] == [model.TransportReject, model.Terminate]
    assert isinstance(only(fx.Ended, effects).error, NetworkError)


@pytest.mark.parametrize("proposed", [model.UnknownTransport("urn:xmpp:jingle:transports:ice:0"), None])
@pytest.mark.parametrize("initiator", [True, False])
def test_a_transport_that_jet_does_not_know_is_rejected_in_words_that_it_has(proposed, initiator):
    session = active_initiator() if initiator else responder()
    if not initiator:
        session.accept(offer(socks5()))
    effects = session.receive(model.TransportReplace("J-1", model.Content("initiator", "ft-1", transport=proposed)))
    [rejected] = [action for action in sent(effects) if isinstance(action, model.TransportReject)]
    assert isinstance(rejected.content.transport, model.Socks5Transport)


def test_an_initiator_that_is_replacing_itself_ignores_the_peers_proposal():
    session = active_initiator()
    session.dialled(None)
    session.receive(info(model.CandidateError()))
    proposal = model.Content("initiator", "ft-1", transport=model.InbandTransport("ibb-9", 8192))
    assert session.receive(model.TransportReplace("J-1", proposal)) == []


def test_a_refused_replacement_means_that_there_is_no_way():
    session = active_initiator()
    session.dialled(None)
    session.receive(info(model.CandidateError()))
    effects = session.receive(model.TransportReject("J-1", model.Content("initiator", "ft-1")))
    assert only(fx.Ended, effects).error.exit_code == NetworkError.exit_code


def test_a_silent_peer_costs_the_candidates_deadline_and_then_the_fall_back_is_tried():
    session = active_initiator()
    session.dialled(None)
    effects = session.deadline_passed(fx.Wait.CANDIDATES)
    assert isinstance(sent(effects)[0], model.TransportReplace)
    effects = session.deadline_passed(fx.Wait.REPLACEMENT)
    assert isinstance(only(fx.Ended, effects).error, NetworkError)


def test_an_in_band_offer_is_open_as_soon_as_it_is_accepted():
    session = Session("J-1", ADA, BOB, inband=INBAND)
    session.initiate(offer(model.InbandTransport("ibb-2", 8192)))
    effects = session.receive(model.Accept("J-1", offer(model.InbandTransport("ibb-2", 4096)), BOB))
    assert only(fx.UseInband, effects) == fx.UseInband(model.InbandTransport("ibb-2", 4096), open_it=True)


def test_an_unconfirmed_file_is_interrupted_and_every_sign_of_life_starts_the_wait_anew():
    session = active_initiator()
    session.await_confirmation()
    effects = session.receive(model.SessionInfo("J-1", model.Ping()))
    assert effects == [fx.StartDeadline(fx.Wait.CONFIRMATION, 60.0)]
    effects = session.deadline_passed(fx.Wait.CONFIRMATION)
    assert isinstance(only(fx.Ended, effects).error, InterruptedTransferError)


def test_what_comes_after_the_end_is_acknowledged_and_changes_nothing():
    session = active_initiator()
    session.terminate(model.Reason("success"))
    assert session.receive(model.SessionInfo("J-1", model.Checksum(()))) == []
    assert session.receive(model.Terminate("J-1", model.Reason("success"))) == []
    assert session.terminate(model.Reason("cancel")) == []
    with pytest.raises(OutOfOrderError):
        session.receive(model.Accept("J-1", offer(), BOB))


def test_a_refused_offer_ends_the_session_and_a_refused_checksum_does_not():
    session = initiator()
    effects = session.refused(model.Initiate("J-1", offer(), ADA), "service-unavailable")
    assert only(fx.Ended, effects).refusal == "service-unavailable"
    session = active_initiator()
    assert session.refused(model.SessionInfo("J-1", model.Checksum(())), "item-not-found") == []
    assert session.state is State.ACTIVE


def test_a_stanza_for_another_content_is_refused():
    session = initiator()
    other = model.Content("initiator", "ft-2", "initiator", None, socks5())
    with pytest.raises(RemoteProtocolError):
        session.receive(model.Accept("J-1", other, BOB))
    assert session.state is State.PENDING


@pytest.mark.parametrize("responder", [BOB, None])
def test_an_answer_of_the_peer_may_name_its_responder_or_none(responder):
    session = initiator()
    session.receive(model.Accept("J-1", offer(socks5(candidate("b-d"))), responder))
    assert session.state is State.ACTIVE


@pytest.mark.parametrize("responder", ["mallory@z/q", ADA, "bob@south.example", "bob@south.example/jet.3", ""])
def test_an_answer_in_the_name_of_another_responder_is_refused_and_changes_nothing(responder):
    session = initiator()
    with pytest.raises(RemoteProtocolError, match="another responder"):
        session.receive(model.Accept("J-1", offer(socks5(candidate("b-d"))), responder))
    assert session.state is State.PENDING


def test_the_accepted_transport_must_be_of_the_offered_kind():
    session = initiator()
    with pytest.raises(RemoteProtocolError):
        session.receive(model.Accept("J-1", offer(INBAND), BOB))
    assert session.state is State.PENDING


NOTES = st.sampled_from(
    [
        model.CandidateUsed("a-d"),
        model.CandidateUsed("b-d"),
        model.CandidateError(),
        model.Activated("a-d"),
        model.ProxyError(),
    ]
)
CONTENTS = st.sampled_from(
    [
        offer(),
        offer(socks5(candidate("b-d"))),
        offer(INBAND),
        model.Content("responder", "x"),
        model.Content("initiator", "ft-1"),
    ]
)
ACTIONS = st.one_of(
    st.builds(model.Initiate, st.just("J-1"), CONTENTS, st.sampled_from([None, ADA, BOB])),
    st.builds(model.Accept, st.just("J-1"), CONTENTS, st.none()),
    st.builds(info, NOTES, st.sampled_from(["s5b-1", "old"])),
    st.builds(model.TransportReplace, st.just("J-1"), CONTENTS),
    st.builds(model.TransportAccept, st.just("J-1"), CONTENTS),
    st.builds(model.TransportReject, st.just("J-1"), CONTENTS),
    st.builds(model.SessionInfo, st.just("J-1"), st.sampled_from([model.Ping(), model.Received(), model.Checksum(())])),
    st.just(model.Terminate("J-1", model.Reason("cancel"))),
)
VERBS = st.sampled_from(
    [
        lambda s: s.dialled(candidate("b-d")),
        lambda s: s.dialled(None),
        lambda s: s.activated(True),
        lambda s: s.activated(False),
        lambda s: s.first_byte(),
        lambda s: s.connection_failed(),
        lambda s: s.terminate(model.Reason("success")),
        *[lambda s, wait=wait: s.deadline_passed(wait) for wait in fx.Wait],
    ]
)


def test_a_peer_whose_resource_would_turn_the_line_round_is_named_escaped():
    session = Session("J-1", ADA, "bob@south.example/x\u2067y")
    session.initiate(offer())
    session.receive(model.Accept("J-1", offer(socks5(candidate("b-d")))))
    session.dialled(None)
    ended = only(fx.Ended, session.receive(info(model.CandidateError())))
    assert ended.error.message.startswith(r"no usable connection to bob@south.example/x\u2067y: ")


@given(st.booleans(), st.lists(st.one_of(ACTIONS, VERBS), max_size=14))
def test_whatever_comes_the_tables_hold_and_an_illegal_action_changes_nothing(as_initiator, steps):
    session = initiator() if as_initiator else Session("J-1", BOB, ADA, inband=INBAND)
    for step in steps:
        before = (session.state, session.path)
        try:
            step(session) if callable(step) else session.receive(step)
        except RemoteProtocolError:
            assert (session.state, session.path) == before
        if before[0] is State.ENDED:
            assert session.state is State.ENDED
        if before[1] is Path.FAILED:
            assert session.path is Path.FAILED
