"""Where a record comes from: the versions, the commit and the machine that made it, and the memory that took."""

import os
import platform
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any


@lru_cache
def versions() -> dict[str, Any]:
    """Versions of nclib, its sources and torch, and the machine."""
    import torch

    from nclib import __version__

    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    if torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name()}"
    versions = {"nclib": __version__, "commit": _commit(), "torch": torch.__version__.split("+")[0]}
    return versions | {"machine": machine, "threads": torch.get_num_threads()}


@lru_cache
def processor() -> str:
    """The processor's name, as its maker or the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = dict(re.split(r"\s*:\s*", line, maxsplit=1) for line in lines if ":" in line)
    parts = [
        named.get("model name", ""),
        *(f"{name} {named[name]}" for name in ("cpu family", "model") if name in named),
    ]
    return ", ".join(part for part in parts if part) or platform.processor() or platform.machine()


def emulated() -> list[str]:
    """The variables that tell libraries to compute as on another processor, with their values."""
    names = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "MKL_CBWR")
    return [f"{name}={os.environ[name]}" for name in names if name in os.environ]


def _commit() -> str | None:
    """The commit of nclib's sources, with + if any Python file differs from it; None outside its repository."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parents[1]), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "nclib/records.py")
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--", "*.py") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def peak_memory(device: str) -> int | None:
    """The most that this process had of a GPU's memory, or of the machine's without one, in MiB; None if not known."""
    if device != "cpu":
        import torch

        return max(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count()))) // 2**20
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows
        return None
    return getrusage(RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)
