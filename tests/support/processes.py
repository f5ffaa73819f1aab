"""Processes that do something at the same time."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path


def run_at_once(program: str, directory: Path, *, times: int) -> list[int]:
    """Run a program that says "ready" and waits for a line, which it gets once all have said so; return the codes."""
    words = [sys.executable, "-c", program, str(directory)]
    with ExitStack() as running:
        children = []
        for _ in range(times):
            child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            children.append(running.enter_context(child))
            running.callback(child.kill)
        assert [child.stdout.readline() for child in children] == ["ready\n"] * times
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        return [child.wait() for child in children]
