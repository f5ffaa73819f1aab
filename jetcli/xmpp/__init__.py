"""All that touches aioxmpp, omemo and sockets."""
