"""Messages of Orbax about errors that we report in one sentence ourselves."""

import logging
import sys
from typing import Any


def hide_orbax_messages() -> None:
    """Keep what Orbax, grain and TensorStore log about an error off standard error.

    Where one array of a checkpoint cannot be written, Orbax raises an error and closes its event
    loop, and TensorStore then prints a traceback for each of the other arrays.
    """
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    hook = sys.unraisablehook

    def report_others(unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            hook(unraisable)

    sys.unraisablehook = report_others
