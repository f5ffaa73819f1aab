"""Whole transfers: the only place where files, state and xmpp meet."""
