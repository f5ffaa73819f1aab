#!/usr/bin/env bash
# Run every example of README.md against a throwaway server, so that none of them is untrue: docs/tour.sh [PAGE]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec "${PYTHON:-.venv/bin/python}" docs/tour.py "$@"
