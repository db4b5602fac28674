"""What a random network is made of, as data that both libraries are built from."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

ACTS = ("relu", "gelu", "silu", "relu6", "hardswish", "hardsigmoid", "leaky_relu")
CHANNELS = (4, 6, 8)
CLASSES = 5


@dataclass(frozen=True)
class Step:
    """One operation, or a composite of several.

    Args:
        kind: what it does; `torch_nets` and `flax_nets` have a function for each.
        name: what the port calls it, unique in the network.
        options: its numbers.
        children: the steps that it holds.
        variant: which of the ways to write it the port takes.
    """

    kind: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    children: tuple["Step", ...] = ()
    variant: int = 0


@dataclass(frozen=True)
class Net:
    """A whole network.

    Args:
        steps: what it does, in order.
        shape: of its input, NHWC.
        flat: whether the port holds all of its layers side by side.
    """

    steps: tuple[Step, ...]
    shape: tuple[int, int, int, int]
    flat: bool


def walk(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Yield every step, those inside others too, in order."""
    for step in steps:
        yield step
        yield from walk(step.children)


def random_net(random: Random) -> Net:
    """Return a network of about a dozen layers on tiny images."""
    return _Drawing(random).net()


class _Drawing:
    """Draws steps one after another, and knows the shape of the image between them."""

    def __init__(self, random: Random):
        self.random = random
        self.count = 0
        self.channels, self.height, self.width = (
            3,
            random.choice((9, 10, 12)),
            random.choice((8, 11)),
        )

    def net(self) -> Net:
        shape = (self.random.choice((2, 3)), self.height, self.width, self.channels)
        steps = [*self.unit(grows=True)]
        for _ in range(self.random.randint(2, 4)):
            steps += self.random.choice(
                (self.unit, self.pooled, self.residual, self.gated, self.joined, self.resized)
            )()
        ending = self.random.choice((self.averaged, self.flattened, self.tokens))
        steps += ending()
        return Net(tuple(steps), shape, self.random.random() < 0.5)

    def step(self, kind: str, *children: Step, **options: Any) -> Step:
        self.count += 1
        name = f"{kind}_{self.count}"
        return Step(kind, name, options, children, self.random.randrange(4))

    def conv(self, out: int, stride: int = 1, plain: bool = False, window: int = 0) -> Step:
        kernel = window or self.random.choice((1, 3, 3, 3))
        groups = self.random.choice(
            [g for g in (1, 1, 2, out) if self.channels % g == out % g == 0]
        )
        dilation = 1 if kernel == 1 or plain else self.random.choice((1, 1, 2))
        step = self.step(
            "conv",
            inputs=self.channels,
            out=out,
            kernel=kernel,
            stride=stride,
            dilation=dilation,
            groups=1 if window else groups,
            bias=self.random.random() < 0.6,
            size=(self.height, self.width),
        )
        self.channels = out
        self.height, self.width = -(-self.height // stride), -(-self.width // stride)
        return step

    def norm(self) -> Step:
        kind = self.random.choice(("batch_norm", "batch_norm", "group_norm", "layer_norm"))
        groups = self.random.choice([g for g in (1, 2, 4) if self.channels % g == 0])
        return self.step(kind, features=self.channels, groups=groups, eps=1e-5)

    def act(self) -> Step:
        return self.step("act", function=self.random.choice(ACTS))

    def unit(self, grows: bool = False) -> list[Step]:
        stride = self.random.choice((1, 2)) if self.height > 6 and not grows else 1 + grows
        out = self.random.choice(CHANNELS)
        steps = [self.conv(out, stride, window=3 if grows else 0), self.norm(), self.act()]
        return [self.step("unit", *steps)]

    def pooled(self) -> list[Step]:
        kind = self.random.choice(("max_pool", "avg_pool"))
        stride = 2 if self.height > 6 else 1
        self.height, self.width = -(-self.height // stride), -(-self.width // stride)
        shift = self.step("shift", by=1.0)  # else a maximum after ReLU knows no negative number
        counts = self.random.random() < 0.5
        return [shift, self.step(kind, window=3, stride=stride, counts=counts)]

    def residual(self) -> list[Step]:
        first = self.conv(self.channels, plain=True)
        children = [first, self.norm(), self.act(), self.conv(self.channels, plain=True)]
        scaled = self.random.random() < 0.5
        return [self.step("residual", *children, scaled=scaled, features=self.channels), self.act()]

    def gated(self) -> list[Step]:
        channels, height, width = self.channels, self.height, self.width
        self.height = self.width = 1
        children = [self.conv(4, window=1), self.act(), self.conv(channels, window=1)]
        gate = self.step("act", function=self.random.choice(("sigmoid", "hardsigmoid")))
        self.height, self.width = height, width
        return [self.step("gate", *children, gate)]

    def joined(self) -> list[Step]:
        own = self.channels
        branch = [self.conv(self.random.choice((4, 6)), plain=True), self.act()]
        self.channels += own
        return [self.step("joined", *branch)]

    def resized(self) -> list[Step]:
        if self.random.random() < 0.4:
            out = self.random.choice((4, 6))
            step = self.step("up", inputs=self.channels, out=out)
            self.channels, self.height, self.width = out, 2 * self.height, 2 * self.width
            return [step]
        mode = self.random.choice(("bilinear", "nearest", "antialias"))
        factor = 2 / 3 if mode == "antialias" else 3 / 2
        self.height, self.width = round(self.height * factor), round(self.width * factor)
        return [self.step("resize", mode=mode, size=(self.height, self.width))]

    def head(self, features: int) -> list[Step]:
        dropout = self.step("dropout", rate=0.2)
        return [dropout, self.step("head", inputs=features, out=CLASSES)]

    def averaged(self) -> list[Step]:
        return [self.step("average"), *self.head(self.channels)]

    def flattened(self) -> list[Step]:
        pool = self.step("max_pool", window=3, stride=2, counts=False)
        self.height, self.width = -(-self.height // 2), -(-self.width // 2)
        return [pool, self.step("flatten"), *self.head(self.channels * self.height * self.width)]

    def tokens(self) -> list[Step]:
        width = self.channels
        kind = self.random.choice(("token_norm", "rms_norm"))
        attention = [self.step(kind, features=width, eps=1e-6)]
        attention += [self.step("attention", features=width, heads=2)]
        mlp = [self.step(kind, features=width, eps=1e-6)]
        mlp += [self.step("linear", inputs=width, out=2 * width), self.act()]
        mlp += [self.step("linear", inputs=2 * width, out=width)]
        blocks = [
            self.step("residual", *children, scaled=False, features=width)
            for children in (attention, mlp)
        ]
        return [self.step("tokens"), *blocks, self.step("token_mean"), *self.head(width)]
