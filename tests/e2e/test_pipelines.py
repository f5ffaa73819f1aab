import os
def test_standard_input_goes_to_a_jet_as_it_comes(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet)
    content = os.urandom(700_001)
    sending = jet(romeo, "send", "-", juliet.jid, "--name", "noise", stdin=content).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), sending
    assert juliet.saved == {"noise": content}
