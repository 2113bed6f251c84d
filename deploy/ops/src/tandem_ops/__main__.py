"""`python -m tandem_ops`: the same as `tandem`."""

from tandem_ops.cli import main

if __name__ == "__main__":
    main()
