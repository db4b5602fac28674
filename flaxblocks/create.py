"""Networks by name, fresh or with published weights."""

import jax.numpy as jnp
from flax import nnx

from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models import Backbone, model_info
from flaxblocks.ops.activations import Activation


def create_model(
    name: str,
    *,
    num_classes: int = 1000,
    in_features: int = 3,
    drop_rate: float | None = None,
    drop_path_rate: float | None = None,
    output_stride: int | None = None,
    norm: ModuleFactory | None = None,
    act: Activation | None = None,
    dtype: jnp.dtype | type | None = None,
    param_dtype: jnp.dtype | type = jnp.float32,
    rngs: nnx.Rngs,
) -> Backbone:
    """Make a network by name, with freshly drawn weights.

    Wrapped in `nnx.eval_shape` it allocates nothing, for counting, sharding or loading.

    >>> model = nnx.eval_shape(lambda: fb.create_model("resnet50", rngs=nnx.Rngs(0)))
    >>> sum(param.size for param in jax.tree.leaves(nnx.state(model, nnx.Param)))
    25557032

    Args:
        name: one of `list_models`; torchvision's name and torchvision's hyper-parameters, or
            timm's after ``timm/``.
        num_classes: length of the output; 0 for the pooled features.
        in_features: channels of the image.
        drop_rate: dropout before the classifier; the source's own where absent.
        drop_path_rate: stochastic depth; the source's own where absent.
        output_stride: pixels of the image per pixel of the last feature map, 8, 16 or 32, by
            dilation in place of strides; the source's own where absent.
        norm: makes each normalization in place of the source's, such as `nnx.GroupNorm`.
        act: activation in place of the source's, but within gates.
        dtype: dtype of the computation; inferred from input and parameters where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Returns:
        The network, in train mode.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if `name` is unknown, the message lists the nearest ones; or if an argument is
            out of range.
    """
    model = Backbone(
        model_info(name).architecture,
        num_classes=num_classes,
        in_features=in_features,
        drop_rate=drop_rate,
        drop_path_rate=drop_path_rate,
        output_stride=output_stride,
        norm=norm,
        act=act,
        dtype=dtype,
        param_dtype=param_dtype,
        rngs=rngs,
    )
    model.name = name
    return model
