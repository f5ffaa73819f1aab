import subprocess
import sys


def test_a_start_builds_no_schema_of_what_the_ratchet_keeps():
    code = (
        "import pydantic, jetcli.xmpp.omemo_ratchet\n"
        "classes = pydantic.BaseModel.__subclasses__()\n"
        "print(len(classes), *(each.__qualname__ for each in classes if each.__pydantic_complete__))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, *built = ran.stdout.split()
    assert int(count) > 0
    assert built == []
