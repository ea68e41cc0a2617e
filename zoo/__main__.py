"""What `python -m zoo` runs, and with it `torchrun -m zoo`."""

from zoo.cli import main

if __name__ == "__main__":
    main()
