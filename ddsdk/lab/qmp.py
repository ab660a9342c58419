"""The few QMP commands the lab needs, one at a time.  Protocol: QEMU docs/interop/qmp-spec.txt (7.2)."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

from .tools import LabError

ANSWER_LIMIT_S = 120.0


class Qmp:
    """A QMP client on a connected stream socket; *obituary* says in one line why QEMU is gone."""

    def __init__(self, connected: socket.socket, obituary: Callable[[], str]) -> None:
        self._socket = connected
        self._obituary = obituary
        self._socket.settimeout(ANSWER_LIMIT_S)
        self._lines = connected.makefile("r", encoding="utf-8")
        self._next("the greeting", "QMP")
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: object) -> Any:
        """The `return` of *command*; LabError with QEMU's own words when it refuses, or is gone."""
        request = {"execute": command, **({"arguments": arguments} if arguments else {})}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError:
            raise self._gone(command) from None
        return self._next(command, "return")

    def _next(self, command: str, key: str) -> Any:
        """What the next message that has *key* says under it; events in between are not for us."""
        while True:
            try:
                line = self._lines.readline()
                answer = json.loads(line) if line else None
            except TimeoutError:
                raise LabError(f"QEMU gave no answer to {command} within {ANSWER_LIMIT_S:g} s; it hangs, or the"
                               " machine is overloaded") from None
            except OSError:
                raise self._gone(command) from None
            except ValueError:
                raise LabError(f"QEMU answered {command} with {line[:80]!r}, which is no JSON; is that socket a QMP"
                               " socket?") from None
            if answer is None:
                raise self._gone(command)
            if "error" in answer:
                raise LabError(f"QEMU refused {command}: {answer['error']['desc']}")
            if key in answer:
                return answer[key]

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()

    def _gone(self, command: str) -> LabError:
        return LabError(f"QEMU is gone at {command}: {self._obituary()}")
