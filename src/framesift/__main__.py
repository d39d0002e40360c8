"""``python -m framesift``: the same as the command, for ``torchrun -m framesift train ...``."""

from .cli.main import run

if __name__ == "__main__":
    run()
