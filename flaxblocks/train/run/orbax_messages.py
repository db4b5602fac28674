"""What other packages say of an error that is answered in one sentence already."""

import logging
import sys
from typing import Any


def hide_orbax_messages() -> None:
    """Leave out of the standard error what Orbax, grain and TensorStore add to an error.

    Where one array of a checkpoint cannot be written, Orbax raises that, and TensorStore then
    finds the event loop closed for each of the others, and prints a traceback for each.
    """
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    tell = sys.unraisablehook

    def tell_others(unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            tell(unraisable)

    sys.unraisablehook = tell_others
