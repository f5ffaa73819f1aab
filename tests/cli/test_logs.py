"""What logs hold of the texts of others."""

import io
import logging

from jetcli.cli.logs import _handler


def test_what_a_terminal_would_obey_is_escaped_in_every_line_of_a_log():
    stream = io.StringIO()
    record = logging.LogRecord("lib", logging.INFO, __file__, 1, "from %s", ("bob@x/\u2067\x1b[2J",), None)
    record.exc_text = "Traceback\nValueError: a\u061cb"
    _handler(logging.StreamHandler(stream), "%(name)s: %(message)s").emit(record)
    assert stream.getvalue() == ("lib: from bob@x/\\u2067\\x1b[2J\nTraceback\nValueError: a\\u061cb\n")
