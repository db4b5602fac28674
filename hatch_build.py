"""Compiles the native kernels into the wheel; where that cannot be done the package goes without.

The kernels are kept in the tree too, where an editable install and a second build find them.
"""

import sysconfig
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = Path("flaxblocks", "ops", "native")


class CustomBuildHook(BuildHookInterface):
    """The hook that hatchling calls before it makes a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile what is missing, and say that the wheel is for this platform."""
        native = Path(self.root) / NATIVE
        try:
            paths = _compiled(_compiling(native), native / "built")
        except (RuntimeError, OSError) as error:
            self.app.display_warning(f"flaxblocks is built without its native kernels: {error}")
            return
        if paths and version != "editable":  # which uses the tree itself
            build_data["force_include"].update(
                {str(path): (NATIVE / "built" / path.name).as_posix() for path in paths}
            )
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"


def _compiling(native: Path) -> ModuleType:
    """Return the module that knows how; flaxblocks itself needs JAX, which a build has not."""
    spec = spec_from_file_location("flaxblocks_compiling", native / "compiling.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _compiled(compiling: ModuleType, folder: Path) -> list[Path]:
    """Return the libraries of all levels of this machine; those of other sources are removed."""
    paths = {level: folder / compiling.library_name(level) for level in compiling.levels()}
    missing = [level for level, path in paths.items() if not path.exists()]
    if missing:
        compiling.compile_libraries(compiling.find_compiler(), missing, folder)
    for path in set(folder.glob("*.so")) - set(paths.values()):
        path.unlink()
    return list(paths.values())
