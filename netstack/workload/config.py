"""What the applications and their remote peers do, as data. Knows no organization and no machine."""

from dataclasses import dataclass

from netstack.errors import ConfigError

HEADER_BYTES = 52  # IPv4 (20) and TCP (20) headers, timestamps option (12): RFC 791, RFC 9293, RFC 7323


@dataclass
class WorkloadConfig:
    """Bulk send: event-driven application threads keep the send buffers of their connections full.

    A visit of a connection writes at most `write_bytes`, one `send_unit_bytes` a protocol request (a page, with
    zero-copy I/O). A connection becomes writable when `lowat_bytes` fit. `mbufs` bounds the pages and headers of
    all send buffers together: with many connections each buffer is smaller.
    """

    name: str = "bulk_send"
    threads_per_core: int = 1
    mtu_bytes: int = 1500
    send_buffer_bytes: int = 262144
    receive_buffer_bytes: int = 262144
    write_bytes: int = 4096
    send_unit_bytes: int = 4096
    lowat_bytes: int = 16384
    rtt_min_us: float = 80.0
    rtt_max_us: float = 240.0
    start_spread_us: float = 10000.0
    delayed_ack_us: int = 100000
    min_rto_us: int = 230000
    mbufs: int = 1048576

    @property
    def mss_bytes(self) -> int:
        """Payload of a full segment: the MTU less IP and TCP headers with timestamps."""
        return self.mtu_bytes - HEADER_BYTES

    def validate(self) -> None:
        """Raise ConfigError for the first value that no workload can have."""
        if self.name != "bulk_send":
            raise ConfigError("workload.name", self.name, "allowed is bulk_send")
        bounds = {
            "threads_per_core": (1, 64),
            "mtu_bytes": (256, 9000),
            "send_buffer_bytes": (4096, 1 << 26),
            "receive_buffer_bytes": (4096, 1 << 26),
            "write_bytes": (1, 1 << 26),
            "send_unit_bytes": (256, 1 << 20),
            "lowat_bytes": (1, 1 << 26),
            "rtt_min_us": (1, 1_000_000),
            "rtt_max_us": (1, 1_000_000),
            "start_spread_us": (0, 10_000_000),
            "delayed_ack_us": (0, 500_000),
            "min_rto_us": (1000, 60_000_000),
            "mbufs": (1024, 1 << 27),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"workload.{name}", value, f"must be from {low} to {high}")
        if self.rtt_max_us < self.rtt_min_us:
            raise ConfigError("workload.rtt_max_us", self.rtt_max_us, f"must be at least rtt_min_us={self.rtt_min_us:g}")
        if self.lowat_bytes > self.send_buffer_bytes:
            raise ConfigError("workload.lowat_bytes", self.lowat_bytes, "must fit in send_buffer_bytes")
        if self.lowat_bytes < self.send_unit_bytes:
            raise ConfigError("workload.lowat_bytes", self.lowat_bytes, "must be at least send_unit_bytes")
        if self.send_unit_bytes > self.write_bytes:
            raise ConfigError("workload.send_unit_bytes", self.send_unit_bytes, "must be at most write_bytes")
