"""Pickles that call what they should not, fill the memory, or take forever."""

import io
import pickle
from typing import Any

import numpy as np

CALLED = (
    ("posix", "system", ("touch mark",)),
    ("builtins", "eval", ("open('mark', 'w')",)),
    ("builtins", "exec", ("open('mark', 'w')",)),
    ("builtins", "getattr", ((), "__class__")),
    ("builtins", "bytearray", (1 << 36,)),
    ("builtins", "list", ("x" * 100,)),
    ("builtins", "str", (1,)),
    ("subprocess", "Popen", (["touch", "mark"],)),
    ("importlib", "import_module", ("antigravity",)),
    ("torch.hub", "load", ("a/b", "c")),
    ("torch", "load", ("secret.pth",)),
    ("torch", "FloatStorage", (1 << 40,)),
    ("torch", "FloatTensor", (1 << 20, 1 << 20)),
    ("torch.storage", "UntypedStorage", (1 << 44,)),
    ("numpy", "load", ("secret.npy",)),
    ("numpy.core.multiarray", "_reconstruct", ("x", (1 << 40,), b"b")),
    ("numpy._core.multiarray", "scalar", ("x", b"")),
    ("pickle", "loads", (b"cposix\nsystem\n.",)),
    ("shutil", "rmtree", ("..",)),
    ("collections", "OrderedDict", (3,)),
    ("torch._utils", "_rebuild_tensor_v2", (1, 2, 3, 4, 5, 6)),
    ("torch._tensor", "_rebuild_from_type_v2", (len, int, ("x" * 9,), None)),
)


class Called:
    """Calls something when it is unpickled, by a name that need not exist here."""

    def __init__(self, module: str, name: str, arguments: tuple):
        self.found = (module, name, arguments)


PICKLER: Any = vars(pickle)["_Pickler"]  # to which operations can be added


class Hostile(PICKLER):
    """Writes `Called` as a call by name."""

    def save(self, obj, save_persistent_id=True):
        if not isinstance(obj, Called):
            return super().save(obj, save_persistent_id)
        module, name, arguments = obj.found
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.save(tuple(a for a in arguments if not callable(a)))
        self.write(pickle.REDUCE)


def nested(depth: int) -> tuple:
    """Return a tuple that holds the one before twice."""
    value: tuple = ()
    for _ in range(depth):
        value = (value, value)
    return value


def hostile_pickle(rng: np.random.Generator) -> bytes:
    """Return a pickle that calls something, or takes forever."""
    buffer = io.BytesIO()
    kind = rng.integers(8)
    if kind == 0:  # as the key of a table
        twice = (b"2\x86", b"q\x00h\x00\x86")[rng.integers(2)]
        return b"\x80\x02})" + twice * int(rng.integers(60, 100)) + b"K\x01s."
    content: object = {}
    if kind == 1:
        content = {"state_dict": {"a": nested(70)}, "b": {nested(2)}}
    else:
        content = {"state_dict": {}, "x": Called(*CALLED[rng.integers(len(CALLED))])}
    Hostile(buffer, 2).dump(content)
    data = buffer.getvalue()
    if kind == 2:
        data = b"\x80\x02" + b"(" * int(rng.integers(1, 300_000)) + b"l."
    if kind == 3:
        data = b"\x80\x02" + b"]" + b"(]" * int(rng.integers(1, 100_000)) + b"e."
    return data
