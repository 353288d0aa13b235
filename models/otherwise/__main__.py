"""``python -m otherwise``: the command, where only a module can be named (``torchrun -m otherwise``)."""

from otherwise.cli import main

if __name__ == "__main__":
    main()
