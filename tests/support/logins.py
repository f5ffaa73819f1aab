"""Logging in as a person would, and where what opens the account is kept."""


def login(jet, home, *words, jid=None, password=None, **kwargs):
    env = {} if password is None else {"JET_PASSWORD": password}
    words = (*([home.jid] if jid is None else jid), *words)
    where = ("--server", home.address, "--ca-file", str(home.server.ca_file))
    return jet(home, "login", *words, *where, env=env, **kwargs).finished()


def password_file(home):
    return home.path / "state" / home.jid / "password"
