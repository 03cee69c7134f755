"""`python -m evaluators`: the library's own command."""

import sys


def main() -> int:
    """Run the command line and return its exit status."""
    from evaluators.cli import run_command

    return run_command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
