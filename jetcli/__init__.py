"""Send files between two XMPP addresses, end-to-end encrypted, from a terminal."""

__version__ = "0.1.0"
