"""A program as the component that a host runs."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from componentize_py_types import Err
from wit_world import exports

from .error import NNError


def command(main: Callable[[], object]) -> type[exports.Run]:
    """The class that componentize-py takes for the component's `wasi:cli/run`. The program names it `Run`:

        def main() -> None:
            print(sys.argv[1:])

        Run = command(main)

    An exception that the program doesn't catch is told on standard error, an `NNError` in one line. The exit code is 1
    then, and after `sys.exit` with a message or any number but 0: WASI 0.2 has no other codes.
    """

    class Run(exports.Run):
        def run(self) -> None:
            try:
                main()
            except NNError as error:
                print(error, file=sys.stderr)
                raise Err(None) from None
            except SystemExit as end:
                if end.code in (None, 0):
                    return
                if not isinstance(end.code, int):
                    print(end.code, file=sys.stderr)
                raise Err(None) from None
            except Exception:
                traceback.print_exc()
                raise Err(None) from None
            finally:
                sys.stdout.flush()
                sys.stderr.flush()

    return Run
