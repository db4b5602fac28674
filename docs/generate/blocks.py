"""The gallery: a section for each of the tutorial's blocks, from the code and a result file."""

import ast
import inspect
import json
from functools import partial
from textwrap import dedent
from typing import Any

from flax import nnx

import flaxblocks as fb
import torch_ref
from docs.generate.diagram import diagram
from docs.generate.files import newest
from parity.cases import SEED_CASES, Case
from parity.report.rows import Report

HEAD = """---
html_theme.sidebar_secondary.remove: true
---

# The blocks

```{{contents}}
:local:
:backlinks: none
```

For each block of the tutorial: what it computes, drawn from its traced program at 32 to 64
channels; Δ is how far a layer's output was from PyTorch's in float64, as a fraction of its scale.
Then the same block in PyTorch (`torch_ref`) and in Flax, and its row of the
[parity run](../exactness.md). The other layers and blocks are in the [reference](api/blocks.md).

This page is made from the code and from `{results}` when the documentation is built.
"""
SECTION = """## {name}

{formula}

```{{raw}} html
<div class="scrolls">{picture}</div>
```

{parameters:,} parameters at 32 to 64 channels.

:::::{{container}} side-by-side
::::{{container}}
**PyTorch**

```python
{torch}
```
::::
::::{{container}}
**Flax**

```python
{flax}
```
::::
:::::

| | names | bitwise | float64 | float32 (torch's) | gradients | statistics | trajectory |
|---|---|---|---|---|---|---|---|
| {name} | {row} |
"""
RESULTS = "parity-cpu-*.json"
CHECKS = ("names", "bitwise", "float64", "float32", "gradients", "statistics", "trajectory")


def blocks_page() -> str:
    """Return the page in Markdown."""
    reports = _reports()
    sections = (section(case, reports[case.name]) for case in SEED_CASES)
    return "\n".join([HEAD.format(results=f"benchmarks/{newest(RESULTS).name}"), *sections])


def picture(name: str) -> str:
    """Return a block's diagram, an SVG, with each layer's difference from PyTorch's."""
    case = next(case for case in SEED_CASES if case.name == name)
    return _picture(case, _reports()[name])


def section(case: Case, report: Report) -> str:
    """Return a block's section."""
    return SECTION.format(
        name=case.name,
        formula=_formula(getattr(fb, case.name)),
        picture=_picture(case, report),
        parameters=report.parameters[1],
        torch=_source(getattr(torch_ref, case.name)),
        flax=_source(getattr(fb, case.name)),
        row=" | ".join(_cell(report, check) for check in CHECKS),
    )


def _reports() -> dict[str, Report]:
    data = json.loads(newest(RESULTS).read_text(encoding="utf-8"))["reports"]
    return {row["name"]: Report.from_dict(row) for row in data}


def _picture(case: Case, report: Report) -> str:
    notes = {name: f"Δ {errors['float64']:.0g}" for name, errors in report.layers.items()}
    return diagram(nnx.eval_shape(case.build_flax), case.shape, notes)


def _formula(block: Any) -> str:
    """Return what the docstring says before its example or its arguments."""
    if isinstance(block, partial):
        arguments = ", ".join(f"{name}={value}" for name, value in block.keywords.items())
        return f"`{block.func.__name__}` with `{arguments}`."
    text = inspect.cleandoc(block.__doc__ or "")
    said = text.partition(">>>")[0].partition("Args:")[0].partition("Source:")[0]
    return said.strip().replace("``", "`")


def _source(block: Any) -> str:
    """Return the code without docstrings."""
    if isinstance(block, partial):
        arguments = ", ".join(f"{name}={value!r}" for name, value in block.keywords.items())
        return f"partial({block.func.__name__}, {arguments})"
    return _without_docstrings(dedent(inspect.getsource(block)))


def _without_docstrings(code: str) -> str:
    lines = code.splitlines()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            text = node.body[0]
            for number in range(text.lineno - 1, text.end_lineno or text.lineno):
                lines[number] = "\0"
    kept = "\n".join(line for line in lines if line != "\0")
    return kept.replace(":\n\n", ":\n").strip()


def _cell(report: Report, check: str) -> str:
    row = report.worst(check)
    if row is None:
        return "n/a"
    if check in ("names", "bitwise"):
        return "yes" if report.passed(check) else "no"
    beside = "" if row.torch_value is None else f" ({row.torch_value:.0e})"
    return f"{row.value:.0e}{beside}"
