"""The bundled demo and what makes it: text from our own generator, a small model, a pair, a ticket, finished runs."""

from pathlib import Path
from typing import Any

DEMO_PATH = Path(__file__).resolve().parents[2] / "data" / "demo"
"""Where the repository ships the built demo."""

__all__ = ["DEMO_PATH", "build_demo"]


def __getattr__(name: str) -> Any:
    if name == "build_demo":
        from kslottery_core.demo.build import build_demo

        return build_demo
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
