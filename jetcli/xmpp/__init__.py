"""All that touches aioxmpp, omemo and sockets."""

from jetcli.xmpp.later import import_later

#: What the libraries import for every start, and a transfer does not need.
SELDOM_USED = (
    # of aioxmpp: dates and numbers in the user's language
    "babel.dates",
    "babel.numbers",
    # of aioxmpp: certificates; jet has its own verifier
    "pyasn1.codec.der.decoder",
    "pyasn1.codec.der.encoder",
    "pyasn1_modules.rfc2459",
    # of aioxmpp and of jet: the look-up of a server that the user did not name
    "dns.asyncresolver",
    "dns.rdatatype",
    "dns.resolver",
    # of xml.sax: documents that lie elsewhere
    "urllib.request",
    # of omemo: messages as text
    "google.protobuf.text_format",
)
import_later(*SELDOM_USED)
