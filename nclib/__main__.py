"""python -m nclib: the command line, as torchrun starts it."""

from nclib.cli import app

if __name__ == "__main__":
    app(prog_name="nclib")
