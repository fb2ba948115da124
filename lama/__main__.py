"""``python -m lama VERB``: the console command without its script."""

from lama.commands import main

if __name__ == "__main__":
    main()
