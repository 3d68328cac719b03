"""What the command lines of all folders share."""

import functools
import sys
from collections.abc import Callable

from .spec import SpecError


def friendly_errors(command: Callable) -> Callable:
    """Turn a :class:`SpecError`, or a file that fails, into one line and exit status 2.

    The line goes to standard error and begins with ``error:``.
    """

    @functools.wraps(command)
    def wrapped(*args, **kwargs):
        try:
            return command(*args, **kwargs)
        except SpecError as error:
            text = " ".join(str(error).split())
        except OSError as error:
            text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"error: {text}", file=sys.stderr)
        raise SystemExit(2)

    return wrapped
