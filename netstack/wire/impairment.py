"""One direction of a bad network: loses, doubles, corrupts, queues, delays and reorders IP packets.

No I/O and no clock, and the same packets at the same times give the same result for a seed. Knows of a packet only where its
IP header ends.
"""

import heapq
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from random import Random

from netstack.errors import ConfigError

HEADER_SHARE_OF_CORRUPTION = 0.1
"""How often the corrupted bit is one of the IP header."""
REORDER_HOLD_US = 10_000
"""A packet that nothing overtakes is held back no longer than that, and arrives in order after all."""
IPV6_HEADER_BYTES = 40
SHARES = ("loss", "duplicate", "corrupt", "reorder")


@dataclass(frozen=True, kw_only=True)
class ImpairmentSettings:
    """What happens to packets, in each direction of its own; the defaults are a perfect network."""

    loss: float = 0.0
    """Share of packets that are lost."""
    duplicate: float = 0.0
    """Share of packets that arrive twice."""
    corrupt: float = 0.0
    """Share of packets in which one bit is inverted: checksums of TCP and IP find it for certain."""
    reorder: float = 0.0
    """Share of packets that up to `reorder_distance` later ones overtake."""
    reorder_distance: int = 3
    delay_us: int = 0
    """One-way delay, in microseconds."""
    jitter_us: int = 0
    """The delay varies evenly by up to so many microseconds more or less; this alone does not reorder."""
    rate_bps: int = 0
    """Bits of IP packets per second; 0 is unlimited."""
    queue_bytes: int = 256 * 1024
    """What may wait for the limited rate; packets that find it full are dropped."""
    seed: int = 1

    def __post_init__(self) -> None:
        for name in SHARES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(name, getattr(self, name), "allowed are 0 to 1")
        for name in ("delay_us", "jitter_us", "rate_bps", "queue_bytes", "reorder_distance"):
            lowest = 1 if name == "reorder_distance" else 0
            if getattr(self, name) < lowest:
                raise ConfigError(name, getattr(self, name), f"allowed are numbers from {lowest}")

    @property
    def is_perfect(self) -> bool:
        """Whether nothing happens to any packet."""
        return not (
            self.loss or self.duplicate or self.corrupt or self.reorder or self.delay_us or self.jitter_us or self.rate_bps
        )


class Impairment:
    """The path of packets in one direction.

    At any time ``offered + duplicated == delivered + lost + overflowed + queued``.

    Attributes:
        offered, delivered, lost, duplicated, corrupted, reordered, overflowed: Packets; overflowed found the queue full.
    """

    def __init__(self, settings: ImpairmentSettings, direction: str = "") -> None:
        """Begin with no packet on the path. The random numbers of two directions differ, and those of two kinds of harm."""
        self.settings = settings
        self._chance = {
            kind: Random(f"{settings.seed}/{direction}/{kind}")
            for kind in ("loss", "duplicate", "corrupt", "bit", "jitter", "reorder", "distance")
        }
        self.offered = self.delivered = self.lost = self.duplicated = self.corrupted = self.reordered = self.overflowed = 0
        self._link_free_us = 0.0
        self._last_arrival_us = 0
        self._order = 0
        self._in_transit: list[tuple[int, int, bytes]] = []  # heap of (arrival, order, packet)
        self._held: list[tuple[int, int, bytes]] = []  # (packets that are still to overtake it, until when, packet)

    @property
    def queued(self) -> int:
        """Packets on the path."""
        return len(self._in_transit) + len(self._held)

    def offer(self, packet: bytes, now_us: int) -> None:
        """Send a packet; times must not go back."""
        self.offered += 1
        if self._happens("loss", self.settings.loss):
            self.lost += 1
            return
        copies = 1
        if self._happens("duplicate", self.settings.duplicate):
            self.duplicated += 1
            copies = 2
        for _ in range(copies):
            self._transmit(packet, now_us)

    def take(self, now_us: int) -> list[bytes]:
        """Return the packets that have arrived by now, in the order of their arrival."""
        arrived: list[bytes] = []
        while self._in_transit and self._in_transit[0][0] <= now_us:
            arrival_us, _, packet = heapq.heappop(self._in_transit)
            self._release_overdue(arrival_us, arrived)
            if self._happens("reorder", self.settings.reorder):
                self.reordered += 1
                distance = self._chance["distance"].randint(1, self.settings.reorder_distance)
                self._overtake(arrived)
                self._held.append((distance, arrival_us + REORDER_HOLD_US, packet))
            else:
                arrived.append(packet)
                self._overtake(arrived)
        self._release_overdue(now_us, arrived)
        self.delivered += len(arrived)
        return arrived

    def next_deadline_us(self) -> int | None:
        """Return when `take` will have something more to do."""
        times = [self._in_transit[0][0]] if self._in_transit else []
        return min(times + [until_us for _, until_us, _ in self._held], default=None)

    def _happens(self, kind: str, probability: float) -> bool:
        return probability > 0.0 and self._chance[kind].random() < probability

    def _transmit(self, packet: bytes, now_us: int) -> None:
        settings = self.settings
        departure_us: float = now_us
        if settings.rate_bps:
            waiting_bytes = max(0.0, self._link_free_us - now_us) * settings.rate_bps / 8e6
            if waiting_bytes + len(packet) > max(settings.queue_bytes, len(packet)):
                self.overflowed += 1
                return
            self._link_free_us = max(self._link_free_us, now_us) + len(packet) * 8e6 / settings.rate_bps
            departure_us = self._link_free_us
        if self._happens("corrupt", settings.corrupt):
            self.corrupted += 1
            packet = self._corrupted(packet)
        delay_us = settings.delay_us
        if settings.jitter_us:
            delay_us += self._chance["jitter"].randint(-settings.jitter_us, settings.jitter_us)
        arrival_us = max(self._last_arrival_us, math.ceil(departure_us) + max(0, delay_us))
        self._last_arrival_us = arrival_us
        self._order += 1
        heapq.heappush(self._in_transit, (arrival_us, self._order, packet))

    def _corrupted(self, packet: bytes) -> bytes:
        """Invert one bit. Of two, the sum of TCP would miss one pair in thirty: those in the same column."""
        chance = self._chance["bit"]
        header_bytes = ip_header_bytes(packet)
        if header_bytes >= len(packet) or chance.random() < HEADER_SHARE_OF_CORRUPTION:
            bit = chance.randrange(8 * min(header_bytes, len(packet)))
        else:
            bit = chance.randrange(8 * header_bytes, 8 * len(packet))
        changed = bytearray(packet)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    def _overtake(self, arrived: list[bytes]) -> None:
        """Count a packet that came after those held back, and release the ones it was the last to overtake."""
        if not self._held:
            return
        waiting = []
        for distance, until_us, packet in self._held:
            if distance == 1:
                arrived.append(packet)
            else:
                waiting.append((distance - 1, until_us, packet))
        self._held = waiting

    def _release_overdue(self, now_us: int, arrived: list[bytes]) -> None:
        if self._held and self._held[0][1] <= now_us:
            arrived += [packet for _, until_us, packet in self._held if until_us <= now_us]
            self._held = [entry for entry in self._held if entry[1] > now_us]


def ip_header_bytes(packet: bytes) -> int:
    """Return where the IP header ends that a packet begins with; the fixed header, if it is IPv6."""
    return IPV6_HEADER_BYTES if packet[0] >> 4 == 6 else max(20, 4 * (packet[0] & 15))


_UNITS: dict[str, tuple[dict[str, float], str]] = {
    "share": ({"%": 0.01, "": 1.0}, "a share such as 5% or 0.05, at most 100%"),
    "us": ({"us": 1, "ms": 1e3, "s": 1e6}, "a time such as 50ms, with the unit us, ms or s"),
    "bps": ({"bit": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}, "a rate such as 100mbit, with the unit bit, kbit, mbit or gbit"),
    "bytes": (
        {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30},
        "a size such as 256KiB, in B, KiB, MiB or GiB",
    ),
    "": ({"": 1}, "a whole number such as 3"),
}


def parse_quantity(option: str, text: str, unit: str) -> float:
    """Read a number with its unit, as the command line has it.

    Args:
        option: Its name, for the error.
        text: Such as ``50ms``.
        unit: What is returned: ``share`` (0 to 1), or a whole number of ``us``, ``bps``, ``bytes``, or with no unit (empty).

    Raises:
        ConfigError: It is something else.
    """
    units, allowed = _UNITS[unit]
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z%]*)", text.strip().lower())
    if match is None or match[2] not in units or (unit == "" and "." in text):
        raise ConfigError(option, text, allowed)
    value = float(match[1]) * units[match[2]]
    if unit != "share":
        return round(value)
    if value > 1:
        raise ConfigError(option, text, allowed)
    return value


def parse_settings(texts: Mapping[str, str]) -> ImpairmentSettings:
    """Read settings as the command line has them: ``{"loss": "5%", "delay": "50ms", "rate": "100mbit", "seed": "1"}``.

    Raises:
        ConfigError: A name or value that is not allowed.
    """
    names = {option_name(field.name): field.name for field in fields(ImpairmentSettings)}
    values: dict[str, float] = {}
    for option, text in texts.items():
        if option not in names:
            raise ConfigError(f"--{option}", text, f"allowed are {', '.join('--' + name for name in names)}")
        values[names[option]] = parse_quantity(f"--{option}", text, _unit(names[option]))
        if option == "reorder-distance" and values[names[option]] < 1:
            raise ConfigError(f"--{option}", text, "allowed are numbers from 1")
    return ImpairmentSettings(**values)  # pyright: ignore[reportArgumentType]


def option_name(field_name: str) -> str:
    """Return what a setting is called on the command line: without its unit, which the value has."""
    base, _, unit = field_name.rpartition("_")
    return (base if unit in _UNITS and base else field_name).replace("_", "-")


def _unit(field_name: str) -> str:
    last = field_name.rpartition("_")[2]
    return "share" if field_name in SHARES else last if last in _UNITS else ""
