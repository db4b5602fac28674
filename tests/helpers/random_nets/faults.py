"""The mistakes that may be planted in a random network, where they fit, and their names."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from tests.helpers.random_nets.description import Net, Step, walk


@dataclass(frozen=True)
class Fault:
    """A mistake in one step.

    Args:
        kind: of the steps that it fits.
        name: as the port knows it.
        cause: how what is said of it begins.
        fits: whether it changes what this step computes.
    """

    kind: str
    name: str
    cause: str
    fits: Callable[[Step], bool] = lambda step: True


def _wide(step: Step) -> bool:
    return step.options["kernel"] > 1


def _uneven(step: Step) -> bool:
    """Return whether a window at stride 2 does not fit evenly around the image."""
    o = step.options
    return o["stride"] > 1 and o["kernel"] > 1 and any(n % 2 == 0 for n in o["size"])


def _square(step: Step) -> bool:
    return step.options["inputs"] == step.options["out"] and step.options["groups"] == 1


def _does(*functions: str) -> Callable[[Step], bool]:
    return lambda step: step.options["function"] in functions


_ROUNDS = "reduced matmul precision: JAX rounds to"
FAULTS: tuple[Fault, ...] = (
    Fault("conv", "SAME", "padding: JAX pads as TensorFlow's SAME", _uneven),
    Fault(
        "conv", "dilation", "dilation: JAX takes 1, PyTorch 2", lambda s: s.options["dilation"] > 1
    ),
    Fault("conv", "stride", "stride: JAX takes 1, PyTorch 2", lambda s: s.options["stride"] > 1),
    Fault("conv", "window exchanged", "layout: the kernel's height and width are swapped", _wide),
    Fault("conv", "flipped", "layout: the kernel is mirrored", _wide),
    Fault("conv", "channels exchanged", "layout: the kernel's input and output", _square),
    Fault("conv", "no bias", "bias: JAX adds none", lambda s: s.options["bias"]),
    Fault("conv", "exchanged", "weights exchanged: JAX takes those of"),
    *(Fault("conv", name, f"{_ROUNDS} {name}") for name in ("bfloat16", "float32", "TF32")),
    Fault("up", "not mirrored", "layout: the transposed convolution's kernel is not mirrored"),
    Fault("batch_norm", "eps", "eps: JAX adds 0.001 to the variance, PyTorch 1e-05"),
    Fault("batch_norm", "momentum", "momentum: JAX moves its statistics by 0.01 (decay 0.99)"),
    Fault("batch_norm", "biased variance", "variance bias: JAX stores the biased variance"),
    Fault("batch_norm", "running in training", "statistics: JAX normalizes by the running ones"),
    Fault("group_norm", "eps", "eps: JAX adds 1e-06 to the variance, PyTorch 1e-05"),
    Fault("group_norm", "groups", "groups: JAX normalizes in"),
    Fault("layer_norm", "eps", "eps: JAX adds 0.001 to the variance, PyTorch 1e-05"),
    Fault("token_norm", "eps", "eps: JAX adds 0.001 to the variance, PyTorch 1e-06"),
    Fault("rms_norm", "eps", "eps: JAX adds 0.001 to the variance, PyTorch 1e-06"),
    Fault("unit", "activation first", "order: JAX applies"),
    Fault("act", "no activation", "missing activation: JAX applies none"),
    Fault("act", "silu", "activation: JAX applies silu", lambda s: s.options["function"] != "silu"),
    Fault("act", "tanh gelu", "activation: JAX applies gelu by tanh", _does("gelu")),
    Fault("act", "Keras's hard_swish", "activation: JAX applies hard_swish by", _does("hardswish")),
    Fault("act", "Keras's hard_sigmoid", "activation: JAX applies hard_si", _does("hardsigmoid")),
    Fault("act", "slope", "activation: JAX applies leaky_relu of slope 0.3", _does("leaky_relu")),
    Fault("max_pool", "zeros", "padding: JAX pads with zeros before the maximum"),
    Fault("max_pool", "average", "pooling: JAX takes the average, PyTorch the maximum"),
    Fault("avg_pool", "counting", "padding: JAX's average"),
    Fault("avg_pool", "maximum", "pooling: JAX takes the maximum, PyTorch the average"),
    Fault("average", "maximum", "pooling: JAX takes the maximum, PyTorch the average"),
    Fault("resize", "aligned", "resizing: JAX takes bilinear with aligned corners"),
    Fault("resize", "other mode", "resizing: JAX takes"),
    Fault(
        "resize", "antialiasing", "resizing: JAX takes bi", lambda s: s.options["mode"][0] == "a"
    ),
    Fault("flatten", "order", "flatten order: JAX flattens (h, w, c), PyTorch (c, h, w)"),
    Fault("residual", "no residual", "missing residual: JAX does not add the input"),
    Fault("residual", "no scale", "missing scale: JAX leaves out", lambda s: s.options["scaled"]),
    Fault("gate", "no gate", "missing product: JAX gives the first factor alone"),
    Fault("attention", "no attention scale", "missing scale: JAX does not multiply by"),
    Fault("attention", "wrong attention scale", "scale: JAX multiplies by"),
    Fault("attention", "softmax axis", "axis: JAX's softmax is over axis 2 of 4"),
    Fault("dropout", "rate", "dropout rate: JAX drops 0.8, PyTorch 0.2"),
    Fault("head", "label order", "label order"),
)


@dataclass(frozen=True)
class Planted:
    """A fault at its place: `faults` are what the port takes."""

    fault: Fault
    step: Step
    faults: dict[str, str]

    @property
    def place(self) -> Step:
        """The step at which it shows first."""
        if self.fault.name == "activation first":
            return next(step for step in self.step.children if step.kind.endswith("norm"))
        return self.step


def planted(net: Net, random: Random) -> Planted:
    """Return a random one of the faults that fit the network, at a random place."""
    places = list(_places(net, random))
    kinds = sorted({(fault.kind, fault.name) for fault, _, _ in places})
    chosen = random.choice(kinds)
    fitting = [place for place in places if (place[0].kind, place[0].name) == chosen]
    return Planted(*random.choice(fitting))


def _places(net: Net, random: Random) -> Iterator[tuple[Fault, Step, dict[str, str]]]:
    steps = list(walk(net.steps))
    shapes_matter = any(step.kind == "flatten" for step in steps)
    for step in steps:
        for fault in FAULTS:
            if fault.kind != step.kind or not fault.fits(step):
                continue
            if fault.name == "stride" and shapes_matter:
                continue
            if fault.name != "exchanged":
                yield fault, step, {step.name: fault.name}
            elif twins := list(_twins(net, step)):
                twin = random.choice(twins)
                faults = {step.name: f"exchanged:{twin.name}", twin.name: f"exchanged:{step.name}"}
                yield fault, step, faults


def _twins(net: Net, step: Step) -> Iterator[Step]:
    """Yield the convolutions that could take each other's weights."""
    shelves = [tuple(walk(net.steps))] if net.flat else [s.children for s in walk(net.steps)]
    for shelf in shelves:
        if any(other is step for other in shelf):
            yield from (
                other
                for other in shelf
                if other.kind == "conv" and other is not step and _layer(other) == _layer(step)
            )


def _layer(step: Step) -> dict[str, object]:
    return {name: value for name, value in step.options.items() if name != "size"}
