"""The bar moves on with every check, and within the long one with every step."""

from flax import nnx
from rich.console import Console
from rich.progress import Progress

import flaxblocks as fb
import torch_ref
from parity import CHECKS, compare
from parity.report.bar import WEIGHTS, Place, length
from tests.parity.test_parity_trajectory import X


def test_every_check_has_its_share_in_the_order_made():
    assert tuple(WEIGHTS) == tuple(CHECKS)


def test_the_bar_moves_with_every_step_to_its_end():
    checks, seen = ("trajectory", "names", "statistics"), []
    with Progress(console=Console(quiet=True)) as progress:
        task_id = progress.add_task("", total=2 * length(checks))
        at = Place(progress, task_id, "pair", checks, length(checks))

        def show(call):
            def shown(*arguments):
                call(*arguments)
                task = progress.tasks[task_id]
                seen.append((task.completed, task.description))

            return shown

        compare(
            torch_ref.Conv1X1BnReLU(8, 4),
            fb.Conv1X1BnReLU(8, 4, rngs=nnx.Rngs(0)),
            X[:, None, None],
            checks=checks,
            on_check=show(at.check),
            on_step=show(at.step),
        )
    places = [place for place, _ in seen]
    assert places == sorted(places) and len(places) == 3 + 3 * 20
    assert seen[0] == (length(checks), "pair: names")
    assert seen[-1] == (2 * length(checks), "pair: trajectory, RMSprop, step 20")
