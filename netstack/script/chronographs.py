"""How long connections were busy, and what limited them: the clocks of TCP_INFO (tcp_chrono_start() of Linux).

Time stands still between events, so that what holds before an event has held since the one before. Knows no call.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from netstack.script.descriptors import Descriptor

_MODULUS = 1 << 32
BUSY, RECEIVER, BUFFER = "busy_time", "rwnd_limited", "sndbuf_limited"


@dataclass
class Chronographs:
    """The clocks of all sockets of a script, in us."""

    _elapsed: dict[int, dict[str, int]] = field(default_factory=dict)

    def elapse(self, descriptors: Iterable[Descriptor], elapsed_us: int) -> None:
        """Let time pass in the present state of all sockets."""
        if elapsed_us <= 0:
            return
        for descriptor in descriptors:
            pcb = getattr(descriptor.socket, "pcb", None)
            running = _running(descriptor, pcb) if pcb is not None else None
            if running is not None:
                clocks = self._elapsed.setdefault(id(descriptor.socket), dict.fromkeys((BUSY, RECEIVER, BUFFER), 0))
                clocks[BUSY] += elapsed_us
                if running != BUSY:
                    clocks[running] += elapsed_us

    def of(self, socket: Any) -> dict[str, int]:
        """Return the clocks of a socket by their names in TCP_INFO."""
        return self._elapsed.get(id(socket), dict.fromkeys((BUSY, RECEIVER, BUFFER), 0))


def _running(descriptor: Descriptor, pcb: Any) -> str | None:
    """Which clock runs: none without data, that of the peer's window, that of a full send buffer, or only that of being busy."""
    socket = descriptor.socket
    if socket.unacknowledged_bytes == 0:
        return None
    flight = (int(pcb["snd_max"]) - int(pcb["snd_una"])) % _MODULUS
    unsent = socket.unsent_bytes
    needed = min(int(pcb["mss"]), unsent)
    if unsent and int(pcb["snd_wnd"]) - flight < needed and int(pcb["snd_cwnd"]) > flight:
        return RECEIVER
    if not unsent and descriptor.no_space:
        return BUFFER
    return BUSY
