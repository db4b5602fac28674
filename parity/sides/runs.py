"""Runs both sides of a pair on the same weights and inputs, once for everything that asks."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from parity.checks import measure
from parity.sides import flax_side, torch_side, weights
from parity.sides.calls import Input, is_float, is_result, path_of_call
from parity.sides.dropout import Rates, rates
from parity.sides.epsilons import EPS, Epsilons, epsilons
from parity.sides.flax_side import FlaxRun
from parity.sides.frame import Frame
from parity.sides.limits import limit
from parity.sides.pairing import Pair
from parity.sides.rounding import Rounding, round_parameters
from parity.sides.torch_side import TorchRun
from parity.trace.torch_program import record
from torch_ref.harness import passes

DRAWS = 4  # of float32's errors, to know their usual size
STARTS = 2  # that are rounded otherwise, to know how far that leads
TARGETS = 7  # sets the targets' random numbers apart: a target equal to the input has no gradient


@dataclass(frozen=True, eq=False)
class Runs:
    """A pair with its weights and inputs; each run is made when it is first asked for."""

    pair: Pair  # the two modules
    inputs: Sequence[Input]  # float32 arrays, NHWC, and what else a call takes
    seed: int = 0  # where the random weights and targets come from
    randomize: bool = True  # whether to draw random weights, or keep PyTorch's own
    backward: bool = True  # whether gradients are wanted of a train-mode run
    stepwise: bool = False  # whether diagnosis runs JAX's programs one operation at a time
    made: dict[Hashable, Any] = field(default_factory=dict[Hashable, Any])  # the runs made so far
    # called within a long check with what it is at, and how much of it is done, from 0 to 1
    on_step: Callable[[str, float], None] = lambda step, done: None

    @cached_property
    def start(self) -> nn.Module:
        """PyTorch's module in float32 with the weights that every run starts from."""
        module = passes.with_dtype(self.pair.torch_module, "float32")
        if self.randomize:
            weights.randomize(module, np.random.default_rng(self.seed))
        return module

    def torch_module(self, dtype: str) -> nn.Module:
        """Return PyTorch's module at the start, in a dtype."""
        return passes.with_dtype(self.start, dtype)

    def jax_module(self, dtype: str):
        """Return JAX's module at the start, in a dtype."""
        start = self.pair.weights(passes.state_of(self.start))
        return flax_side.with_weights(self.pair.jax_module, start, dtype)

    def forward(self, dtype: str, i: int) -> tuple[TorchRun, FlaxRun]:
        """Run both sides in eval mode on input `i`."""
        return self.once(("eval", dtype, i), lambda: self._forward(dtype, i))

    def rounded(self, i: int) -> list[TorchRun]:
        """Run PyTorch's side in float64, in eval mode, with float32's errors at random."""
        return self.once(("rounded", i), lambda: [self._rounded(i, seed) for seed in range(DRAWS)])

    def rounded_steps(self, i: int) -> list[TorchRun]:
        """Run PyTorch's train-mode step in float64, with float32's errors at random."""
        return self.once(
            ("rounded steps", i), lambda: [self._rounded_step(i, seed) for seed in range(DRAWS)]
        )

    def from_rounded(self, i: int, training: bool) -> list[TorchRun]:
        """Run PyTorch's side in float64 from parameters that rounding has moved."""
        return self.once(
            ("from rounded", i, training),
            lambda: [self._from_rounded(i, training, seed) for seed in range(STARTS)],
        )

    def train_step(self, dtype: str, i: int) -> tuple[TorchRun, FlaxRun]:
        """Run both sides forward and backward in train mode on input `i`."""
        return self.once(("train", dtype, i), lambda: self._train_step(dtype, i))

    def trained(self, i: int) -> tuple[TorchRun, FlaxRun]:
        """Run both sides in train mode in float64, backward only where gradients are wanted."""
        if self.backward:
            return self.train_step("float64", i)
        return self.once(("trained", i), lambda: self._trained(i))

    @cached_property
    def frame(self) -> Frame:
        """Where the two sides have the channels of what they take and give."""
        first = Frame.of(self.pair.torch_module, self.inputs[0])
        theirs = torch_side.forward(self.torch_module("float64"), self.inputs[0], "float64", first)
        results = {n: v for n, v in theirs.outputs.items() if is_result(n)}
        shapes = flax_side.output_shapes(self.jax_module("float32"), self.inputs[0])
        return first.fitted(results, shapes, lambda: self._ours("float64", 0).outputs)

    def _forward(self, dtype: str, i: int) -> tuple[TorchRun, FlaxRun]:
        return self.torch_forward(dtype, i), self._ours(dtype, i)

    def torch_forward(self, dtype: str, i: int) -> TorchRun:
        """Run PyTorch's side in eval mode on input `i`."""
        return self.once(
            ("torch eval", dtype, i),
            lambda: self._torch_forward(self.torch_module(dtype), dtype, i),
        )

    def _torch_forward(self, module: nn.Module, dtype: str, i: int) -> TorchRun:
        return self.renamed(torch_side.forward(module, self.inputs[i], dtype, self.frame))

    def _ours(self, dtype: str, i: int) -> FlaxRun:
        def make() -> FlaxRun:
            with flax_side.precision(dtype):
                return flax_side.forward(self.jax_module(dtype), self.inputs[i], dtype)

        return self.once(("ours", dtype, i), make)

    def _rounded(self, i: int, seed: int) -> TorchRun:
        module = self.torch_module("float64")
        with Rounding(module, seed):
            return self._torch_forward(module, "float64", i)

    def _rounded_step(self, i: int, seed: int) -> TorchRun:
        module = self.torch_module("float64")
        with Rounding(module, seed):
            return self._torch_step(module, "float64", i)

    def _from_rounded(self, i: int, training: bool, seed: int) -> TorchRun:
        module = self.torch_module("float64")
        round_parameters(module, np.random.default_rng((seed, self.seed)))
        run = self._torch_step if training else self._torch_forward
        return run(module, "float64", i)

    def _torch_step(self, module: nn.Module, dtype: str, i: int) -> TorchRun:
        step = torch_side.train_step(module, self.inputs[i], self.target(i), dtype, self.frame)
        return self.renamed(step)

    def _trained(self, i: int) -> tuple[TorchRun, FlaxRun]:
        with flax_side.precision("float64"):
            module, training = self.jax_module("float64"), self.pair.has_modes
            ours = flax_side.train_forward(module, self.inputs[i], "float64", training)
        return self.torch_step("float64", i), ours

    def _train_step(self, dtype: str, i: int) -> tuple[TorchRun, FlaxRun]:
        x, target, training = self.inputs[i], self.target(i), self.pair.has_modes
        with flax_side.precision(dtype):
            ours = flax_side.train_step(self.jax_module(dtype), x, target, dtype, training)
        return self.torch_step(dtype, i), ours

    @cached_property
    def output_shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shape of PyTorch's and of JAX's output for the first input."""
        if self.pair.is_abstract:
            x, pair = self.inputs[0], self.pair
            return (
                torch_side.output_shape(pair.torch_module, x),
                flax_side.output_shapes(pair.jax_module, x)[""],
            )
        theirs, ours = self.forward("float64", 0)
        return theirs.outputs[""].shape, ours.outputs[""].shape

    def torch_step(self, dtype: str, i: int) -> TorchRun:
        """Run PyTorch's side forward and backward in train mode on input `i`."""
        return self.once(
            ("torch train", dtype, i), lambda: self._torch_step(self.torch_module(dtype), dtype, i)
        )

    def limit(self, quantity: str, i: int, training: bool) -> float:
        """Return how far outputs, gradients or statistics of float64 runs may be apart."""
        return self.once(
            ("limit", quantity, i, training), lambda: limit(self, quantity, i, training)
        )

    def apart(self, i: int) -> frozenset[str]:
        """Return the layers that differ inside, where the whole agrees on input `i`.

        The two may join their steps otherwise: what such a layer gives is no comparison.
        """
        return self.once(("apart", i), lambda: self._apart(i))

    def _apart(self, i: int) -> frozenset[str]:
        found: set[str] = set()
        for training in (False, True):
            theirs, ours = self.trained(i) if training else self.forward("float64", i)
            limit = self.limit("output", i, training)
            off = {
                path
                for path, truth, value in measure.paired(theirs.outputs, ours.outputs)
                if measure.scaled_error(value, truth) > limit
            }
            if "" in off:
                return frozenset()
            found |= off
        if not found:
            return frozenset()
        theirs, ours = self.train_step("float64", i)
        limit = self.limit("gradient", i, True)
        for name, truth in theirs.gradients.items():
            scale = measure.layer_scale(name, theirs.gradients)
            if name in ours.gradients and (
                measure.scaled_error(ours.gradients[name], truth, scale) > limit
            ):
                return frozenset()
        return frozenset(found)

    @cached_property
    def dropout_rates(self) -> list[Rates]:
        """The rates of dropout on both sides, where these can be told."""
        port = self.jax_module("float32")
        if not flax_side.drops(port):
            return []
        module = self.torch_module("float32").train()
        theirs = record(module, *self.frame.tensors(self.inputs[0], torch.float32), drop=True)
        return list(rates(theirs, flax_side.program(port, self.inputs[0], "dropout")))

    @cached_property
    def epsilons(self) -> list[Epsilons]:
        """What norms add to the variance where the two sides state different numbers."""
        return [found for found in epsilons(self) if found.off > EPS]

    def target(self, i: int) -> dict[str, np.ndarray]:
        """Return what the loss compares each output for input `i` with."""
        rng = np.random.default_rng((TARGETS, self.seed, i))
        outputs = self.torch_forward("float64", i).outputs
        return {
            name: rng.normal(size=value.shape).astype(np.float32)
            for name, value in outputs.items()
            if is_result(name) and is_float(value)
        }

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what was made under this key, which is made where it is first asked for."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def renamed(self, run: TorchRun) -> TorchRun:
        """Return PyTorch's run under native names; what has no counterpart keeps its own."""
        paths = self.pair.paths

        def named(call: str) -> str:
            path, again = path_of_call(call)
            return paths.get(path, path) + again

        return TorchRun(
            outputs={named(call): value for call, value in run.outputs.items()},
            inputs={named(call): value for call, value in run.inputs.items()},
            loss=run.loss,
            gradients=self.pair.gradients(run.gradients),
            state=self.pair.native(run.state),
            kinks=[{named(call): at for call, at in kink.items()} for kink in run.kinks],
        )
