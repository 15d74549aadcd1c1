"""python -m nclib: the command line, as torchrun starts it."""

from nclib.cli import app

app(prog_name="nclib")
