"""Networks are exported for images of any number and size, to be known when the program runs."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import export

import flaxblocks as fb
from tests.helpers.networks import PUBLISHED, SMALLEST

pytestmark = pytest.mark.usefixtures("quick")

ANY_SIZE = "n, h, w, 3"
ANY_NUMBER = "n, 224, 224, 3"  # where linear layers read all pixels
EVEN = "n, 32 * h, 32 * w, 3"  # where pools drop an odd edge that shortcuts keep

TORCHVISION = {
    name: ANY_NUMBER if name.startswith(("vgg", "alexnet")) else ANY_SIZE for name in PUBLISHED
}
TIMM = {  # a network with each of timm's stems: kernels, convolutions, padding and pool
    "timm/efficientnet_b0": ANY_SIZE,
    "timm/tf_efficientnet_b0": ANY_SIZE,
    "timm/mobilenet_edgetpu_v2_s": ANY_SIZE,
    "timm/mobilenet_edgetpu_v2_l": ANY_SIZE,
    "timm/resnet10t": ANY_SIZE,
    "timm/resnet18": ANY_SIZE,
    "timm/resnetaa34d": EVEN,
    "timm/resnetaa50": EVEN,
    "timm/resnetrs50": ANY_SIZE,
    "timm/resnetblur18": ANY_SIZE,
    "timm/resnetblur50d": ANY_SIZE,
    "timm/convnext_atto": ANY_SIZE,
    "timm/convnext_atto_ols": ANY_SIZE,
    "timm/test_resnet": ANY_SIZE,
}
QUICK = ("timm/test_resnet", "timm/resnetaa50", SMALLEST["MobileNetV3"])


@pytest.mark.parametrize(
    "name,shape",
    [
        pytest.param(name, shape, id=name, marks=[] if name in QUICK else [pytest.mark.slow])
        for name, shape in (TORCHVISION | TIMM).items()
    ],
)
def test_is_exported_with_symbolic_height_and_width(name: str, shape: str):
    network = nnx.eval_shape(lambda: fb.create_model(name, rngs=nnx.Rngs(0)))
    network.eval()
    graphdef, state = nnx.split(network)
    least = 80 if name == "inception_v3" else 32
    constraints = (f"h >= {least}", f"w >= {least}") if shape == ANY_SIZE else ()
    x = jax.ShapeDtypeStruct(export.symbolic_shape(shape, constraints=constraints), jnp.float32)

    exported = export.export(jax.jit(lambda state, x: nnx.merge(graphdef, state)(x)))(state, x)

    (logits,) = exported.out_avals
    assert logits.shape == (x.shape[0], 1000)
