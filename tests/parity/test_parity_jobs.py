"""What the command line compares of a network: at which size, and all that it trains."""

import numpy as np
import pytest
from flax import nnx

from flaxblocks.blocks.auxiliary_head import GoogLeNetAuxiliary
from parity import compare
from parity.jobs import model_jobs
from parity.sides import calling, torch_side
from tests.helpers.networks import make_witness

NETWORKS = ["timm/resnet18", "timm/resnetaa34d", "timm/dla46x_c", "inception_v3"]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_image_has_a_size_that_the_network_takes(name):
    job = model_jobs([name])[name]
    x = np.zeros(job().shape, np.float32)
    module = make_witness(name)
    assert torch_side.output_shape(module, x) == (2, 1000)
    assert torch_side.output_shape(module.train(), x) == (2, 1000)


@pytest.mark.parametrize(("training", "calls"), [(False, 0), (True, 2)])
def test_auxiliary_heads_are_computed_in_training(training, calls, monkeypatch):
    called, call = [], GoogLeNetAuxiliary.__call__
    monkeypatch.setattr(
        GoogLeNetAuxiliary, "__call__", lambda *args: called.append(args) or call(*args)
    )
    task = model_jobs(["googlenet"])["googlenet"]()
    x = np.zeros(task.shape, np.float32)
    output = nnx.eval_shape(lambda m, x: calling.call(m, x, training), task.jax_module, x)
    assert (output.shape, len(called)) == ((2, 1000), calls)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_auxiliary_heads_move_their_statistics():
    task = model_jobs(["googlenet"])["googlenet"]()
    x = np.random.default_rng(0).normal(size=task.shape).astype(np.float32)
    report = compare(task.torch_module, task.jax_module, x, names=task.names, checks=["statistics"])
    assert report.ok, str(report)
    assert any(row.quantity.startswith("auxiliary.1.conv.norm") for row in report.rows)
