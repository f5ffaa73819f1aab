"""What is said, and to whom: logs without secrets, quiet, colour, plain lines, one result after a signal."""

import base64
import re
import signal
import stat

import pytest

pytestmark = pytest.mark.matrix

SGR = re.compile(r"\x1b\[[0-9;]*m")


def secrets_of(home):
    plain = home.password
    return [
        plain,
        base64.b64encode(plain.encode()).decode(),
        base64.b64encode(f"\0{plain}".encode()).decode(),
        "SCRAM-",
    ]


def test_vv_tells_stanzas_and_no_secret(jet, home):
    romeo = home("romeo")
    ended = jet(romeo, "-vv", "caps", "nobody@jet.test", env={"JET_PASSWORD": romeo.password}).finished()
    assert "jet: log: jetcli.xml: >> <presence" in ended.stderr
    assert "jet: log: jetcli.xml: << <iq" in ended.stderr
    assert not [secret for secret in secrets_of(romeo) if secret in ended.stderr]
    assert "<auth" not in ended.stderr


def test_vv_tells_the_time_of_every_phase_until_the_first_byte(pair, jet, receiver):
    romeo, juliet = pair
    receiver(juliet)
    ended = jet(romeo, "-vv", "send", romeo.file("a.txt", 5), juliet.jid).finished()
    told = re.findall(r"jet: log: jetcli\.phases: (.+): (\d+\.\d+) s, done at (\d+\.\d+) s", ended.stderr)
    assert " ".join(name.replace(" ", "-") for name, _, _ in told) == (
        "imports connect TLS SASL bind OMEMO disco offer accept candidates first-byte"
    )
    assert [done for _, _, done in told] == sorted((done for _, _, done in told), key=float)
    assert sum(float(took) for _, took, _ in told) == pytest.approx(float(told[-1][2]), abs=0.02)


def test_one_v_tells_no_stanzas(jet, home):
    ended = jet(home("romeo"), "-v", "caps", "nobody@jet.test").finished()
    assert "<presence" not in ended.stderr


def test_the_log_file_is_private_is_added_to_and_leaves_the_terminal_alone(jet, home):
    romeo = home("romeo")
    log = romeo.files / "jet.log"
    for _ in range(2):
        ended = jet(romeo, "--log-file", str(log), "caps", "nobody@jet.test", umask=0).finished()
        assert "<presence" not in ended.stderr
    text = log.read_text()
    assert text.count(">> <presence") >= 2
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert not [secret for secret in secrets_of(romeo) if secret in text]


def test_a_log_file_that_cannot_be_written(jet, home):
    ended = jet(home("romeo"), "caps", "a@b.org", "--log-file", "/no/such/place").finished()
    assert (ended.code, ended.error) == (13, "cannot write '/no/such/place': no such file or directory")
    assert "never awaited" not in ended.stderr


def test_quiet_says_nothing_but_errors(jet, pair, receiver):
    romeo, juliet = pair
    receiving = receiver(juliet, "-q", ready=False)
    sending = jet(romeo, "send", "-q", romeo.file("a.txt", 1000), juliet.jid, "--wait", "20s").finished()
    assert (sending.code, sending.stdout, sending.stderr) == (0, "", "")
    assert receiving.finished().stderr == ""
    assert receiving.stdout == f"{juliet.files / 'a.txt'}\n"
    failed = jet(romeo, "send", "-q", "missing", juliet.jid).finished()
    assert failed.error == "cannot read 'missing': no such file"


@pytest.mark.parametrize(
    ("env", "options", "coloured"),
    [
        ({"TERM": "xterm"}, [], True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, [], False),
        ({"TERM": "dumb"}, [], False),
        ({"TERM": "xterm"}, ["--color", "never"], False),
        ({"TERM": "dumb"}, ["--color", "always"], True),
    ],
)
def test_colour_is_for_those_who_want_it(jet, home, env, options, coloured):
    ended = jet(home("romeo"), "send", "missing", "a@b.org", *options, terminal=True, env=env).finished()
    assert bool(SGR.search(ended.stderr)) is coloured
    assert "jet: error:" in SGR.sub("", ended.stderr)


def test_away_from_a_terminal_there_are_lines_and_no_escapes(jet, pair, receiver):
    romeo, juliet = pair
    receiver(juliet)
    sending = jet(romeo, "send", romeo.file("a.bin", 2_000_000), juliet.jid, env={"TERM": "xterm"}).finished()
    assert "\x1b" not in sending.stderr
    assert "a.bin: accepted" in sending.stderr
    assert "100 %" in sending.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_ends_with_exactly_one_result(jet, home, number, code):
    waiting = jet(home("romeo"), "receive", "--accept-all", "--json")
    waiting.ready()
    waiting.signal(number)
    ended = waiting.finished()
    assert ended.code == code
    assert [event["exit"] for event in ended.events if event["type"] == "result"] == [code]
    assert ended.events[-1]["type"] == "result"


def test_usr1_tells_one_line(jet, home):
    waiting = jet(home("romeo"), "receive", "--accept-all")
    waiting.ready()
    waiting.signal(signal.SIGUSR1)
    waiting.wait_for("^no transfer is running$|\nno transfer is running\n")
    assert waiting.code is None


@pytest.mark.parametrize(
    ("topic", "said"), [("exit-codes", "  10  interrupted: "), ("json", "resume_id: "), ("config", "[accounts.home]")]
)
def test_help_on_topics(jet, home, topic, said):
    ended = jet(home("romeo"), "help", topic).finished()
    assert (ended.code, ended.stderr) == (0, "")
    assert said in ended.stdout


def test_help_on_commands_and_on_nothing(jet, home):
    romeo = home("romeo")
    assert jet(romeo, "help", "send").finished().stdout == jet(romeo, "send", "--help").finished().stdout
    assert jet(romeo, "help").finished().stdout == jet(romeo, "--help").finished().stdout
    ended = jet(romeo, "help", "frob").finished()
    assert (ended.code, ended.error) == (2, "no help on 'frob'")


def test_the_configuration_that_help_shows_is_valid(jet, home):
    """What `jet help config` prints is read back, without what stands behind the values."""
    import tomllib

    from jetcli.cli.topics import CONFIG
    from jetcli.state import config

    lines = [re.sub(r"\s{3,}.*", "", line[4:]) for line in CONFIG.splitlines() if line.startswith("    ")]
    document = tomllib.loads("\n".join(lines))
    assert set(document["accounts"]["home"]) == set(config._ACCOUNT)
    assert set(document["receive"]) == set(config._RECEIVE)
    assert set(document["network"]) == set(config._NETWORK)
    assert set(document) == set(config._TOP_LEVEL)
