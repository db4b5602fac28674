# pyright: reportUnknownMemberType=false
"""Networks and their preprocessing by name, fresh or with published weights."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.layers.rngs import check_rngs
from flaxblocks.models import Backbone, Segmenter, model_info
from flaxblocks.models.foreign import FOREIGN, answers
from flaxblocks.ops.activations import Activation
from flaxblocks.preprocess import Preprocess
from flaxblocks.weights import hub
from flaxblocks.weights.card import Card, read_card
from flaxblocks.weights.files import load_tensors, read_weights
from flaxblocks.weights.hub_config import check_config
from flaxblocks.weights.origin import Origin, resolve
from flaxblocks.weights.state_dict import named_entries

KINDS: dict[str, type[Backbone]] = {"classification": Backbone, "segmentation": Segmenter}
"""What makes the networks of each task."""


@answers(FOREIGN)
def create_model(
    name: str,
    *,
    weights: str | os.PathLike[str] | None = None,
    key: str | None = None,
    num_classes: int | None = None,
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
    """Make a network by name, with trained or with freshly drawn weights.

    Wrapped in `nnx.eval_shape` one without `weights` allocates nothing, for counting or sharding.

    >>> model = nnx.eval_shape(lambda: fb.create_model("resnet50", rngs=nnx.Rngs(0)))
    >>> sum(param.size for param in jax.tree.leaves(nnx.state(model, nnx.Param)))
    25557032

    Args:
        name: one of `list_models`; torchvision's name and torchvision's hyper-parameters, or
            timm's after ``timm/``.
        weights: a tag that `model_info` lists (``"IMAGENET1K_V2"``), ``"default"`` for the first
            of them, or what `load_weights` takes: a path, a run's folder, an address,
            ``"torchvision:..."``, ``"hf-hub:..."``. None for weights drawn as the source draws
            them.
        key: where in a checkpoint of `torch.save` the weights are, see `load_weights`.
        num_classes: length of the output; 0 for the pooled features. Where it is not what the
            weights have, the classifier is a new one; absent, it is what they have, or the
            source's own: 1000 of ImageNet, 21 of Pascal VOC.
        in_features: channels of the image. The first kernel of weights for 3 is adapted to other
            numbers, see `load_state_dict`.
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
        The network, in train mode; a `flaxblocks.models.Segmenter` where it classifies every pixel.

    Raises:
        ConnectionError: if the weights are out of reach, see `load_weights`.
        FileNotFoundError: if there are none at `weights`.
        ImportError: if they need a package that is not installed.
        TypeError: if an argument is of the wrong type.
        ValueError: if `name` or `weights` is unknown, the message lists the nearest ones; if the
            weights do not fit; or if an argument is out of range.
    """
    architecture = model_info(name).architecture

    kind = KINDS[architecture.task]

    def make(num_classes: int | None, rngs: nnx.Rngs) -> Backbone:
        model = kind(
            architecture,
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

    if weights is None:
        return make(num_classes, rngs)
    return _pretrained(make, resolve(name, weights), key, num_classes, rngs)


@dataclass(frozen=True)
class Run:
    """A trained network with what using it takes; `load_run` returns it.

    Args:
        model: the network, in eval mode.
        card: what the run's folder says about it.
    """

    model: Backbone
    card: Card

    @property
    def preprocess(self) -> Preprocess:
        """How images are prepared for it."""
        return self.card.preprocess

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its outputs, in order."""
        return self.card.classes


def create_preprocess(name: str, weights: str | os.PathLike[str] | None = None) -> Preprocess:
    """Return how images are prepared for a network.

    That belongs to the weights more than to the network: torchvision trained some networks twice.

    >>> fb.create_preprocess("resnet50").resize
    232
    >>> fb.create_preprocess("resnet50", "IMAGENET1K_V1").resize
    256

    Args:
        name: one of `list_models`.
        weights: what `create_model` takes; the default ones where absent.

    Raises:
        ValueError: if the network or its weights are unknown.
    """
    return model_info(name).preprocess if weights is None else resolve(name, weights).preprocess


def load_run(folder: str | os.PathLike[str]) -> Run:
    """Load what `flaxblocks train` left in a folder.

    >>> run = fb.load_run("run")  # doctest: +SKIP
    >>> image = jnp.asarray(run.preprocess("photo.jpg"))  # doctest: +SKIP
    >>> run.classes[int(run.model(image).argmax())]  # doctest: +SKIP
    'daisy'

    Args:
        folder: the run's folder, with its ``model.json``.

    Raises:
        FileNotFoundError: if no run was finished there.
        ValueError: if the card is damaged, or its network unknown: `register_model` first those
            that are your own.
    """
    card = read_card(folder)
    model = create_model(card.name, weights=folder, in_features=card.in_features, rngs=nnx.Rngs(0))
    model.eval()
    return Run(model, card)


def _pretrained(
    make: Callable[[int | None, nnx.Rngs], Backbone],
    origin: Origin,
    key: str | None,
    num_classes: int | None,
    rngs: nnx.Rngs,
) -> Backbone:
    """Return a network with weights, of which only what they do not hold is drawn."""
    check_rngs(rngs)

    def abstract(num_classes: int | None) -> Backbone:
        return nnx.eval_shape(lambda: make(num_classes, nnx.Rngs(0)))

    model = abstract(origin.num_classes)
    guess = model.num_classes
    if hub.is_repository(origin.source):
        config = hub.read_config(origin.source)
        check_config(model, config, new_head=True, adapt_stem=True)
    tensors, names = read_weights(model, origin.source, key=key)
    classifier = model.head.classifier
    entries = named_entries(model, names).items()
    found = [n for n, e in entries if classifier is not None and e.variable is classifier.kernel]
    own = next((np.shape(tensors[n])[0] for n in found if n in tensors), 0)
    wanted = own if num_classes is None else num_classes
    if own != guess and own == wanted:
        model = abstract(own)
    keys: dict[str, Any] = {tag: rngs.dropout() for tag in _streams(model)}
    nnx.reseed(model, **keys)
    if own != wanted:
        model.reset_classifier(wanted, rngs=rngs)
    load_tensors(model, origin.source, tensors, names, new_head=own != wanted, adapt_stem=True)
    return model


def _streams(model: nnx.Module) -> set[str]:
    """Return the names of the random streams that a network's layers draw from."""
    return {node.tag for _, node in nnx.iter_graph(model) if isinstance(node, nnx.RngStream)}
