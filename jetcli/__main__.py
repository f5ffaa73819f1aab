"""`python -m jetcli` is `jet`."""

from jetcli.cli import run

if __name__ == "__main__":
    run()
