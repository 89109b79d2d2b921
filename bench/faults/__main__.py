"""Run one of them, or say which there are."""

import importlib
import inspect
import pkgutil
import sys

import bench.faults


def main() -> int:
    """The exit status: 1 when a promise was broken, 2 when there is none of this name."""
    names = sorted(m.name for m in pkgutil.iter_modules(bench.faults.__path__) if m.name[0] != "_")
    name, *arguments = sys.argv[1:] or [""]
    if name in names:
        run = importlib.import_module(f"bench.faults.{name}").main
        sys.argv = [f"bench.faults {name}", *arguments]
        return int(run(arguments) if inspect.signature(run).parameters else run())
    for one in names:
        said = (importlib.import_module(f"bench.faults.{one}").__doc__ or "").splitlines()[0]
        print(f"{one:12} {said}")
    return 2 if name else 0


if __name__ == "__main__":
    raise SystemExit(main())
