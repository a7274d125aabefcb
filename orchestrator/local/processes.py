"""Processes that never outlive their parent. Linux only: the world needs its signals and its 127.0.0.0/8."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when *parent* dies, even while it is stopped (prctl(2), PR_SET_PDEATHSIG).

    Call it first thing in the child's main thread. Exits at once when *parent* is gone already. To the kernel the
    parent is the thread that started the child: start children from a thread that lives as long as they should.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have died before the call above: then no signal will ever come.
    if os.getppid() != parent:
        raise SystemExit(0)
