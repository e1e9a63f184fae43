"""The program `cf`, of this folder: python -m cf.cli."""

from cf.cli.main import app

app(prog_name="cf")
