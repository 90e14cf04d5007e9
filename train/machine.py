"""What this machine has for training: memory that is free, and accelerators."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def memory() -> dict[str, int | None]:
    """Bytes in all and available; the limit of a container counts where it is lower."""
    total = available = None
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
        total, available = sizes.get("MemTotal"), sizes.get("MemAvailable")
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        if limit.isdigit() and total is not None and available is not None:
            total, available = min(total, int(limit)), min(available, int(limit))
    except (OSError, ValueError):
        if total is None and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"total_bytes": total, "available_bytes": available if available is not None else total}


def accelerators() -> list[dict[str, Any]]:
    """Name and memory of each GPU that torch can use."""
    import torch

    if torch.cuda.is_available():
        properties = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        return [{"name": found.name, "memory_bytes": found.total_memory} for found in properties]
    return []


def device_class() -> str:
    """`cuda` where a GPU computes, otherwise `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def resident_bytes() -> int | None:
    """Memory that this process holds now; null where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
