"""Run the command line: ``python -m celerykit`` and the console script."""

import sys


def main() -> int:
    """Hand over to the command line and return its exit code; a probe takes the short way."""
    if sys.argv[1:2] == ["probe"]:
        from celerykit import probe

        return probe.main(sys.argv[2:])
    from celerykit import cli

    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
