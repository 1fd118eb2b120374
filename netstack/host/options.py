"""The options of a connection: their names, and the values that they can have. Knows no connection."""

from netstack.host.config import BUFFER_BYTES
from netstack.host.ip import HEADER_FIELDS
from netstack.tcp.pcb import CUBIC, NEW_RENO

CONGESTION = {"cubic": CUBIC, "reno": NEW_RENO}

PCB_OPTIONS = {
    "no_delay": "no_delay",
    "cork": "cork",
    "user_timeout_us": "user_timeout_us",
    "keepalive_interval_us": "keepalive_interval_us",
    "keepalive_probes": "keepalive_probes",
    "syn_retries": "max_retransmissions",
    "fin_wait_2_us": "fin_wait_2_us",
    "delayed_ack_us": "delayed_ack_us",
}
"""Options that are a field of the pcb."""

OPTIONS = {
    *PCB_OPTIONS,
    *("congestion_control", "keepalive", "keepalive_idle_us", "linger_s", "maximum_segment_bytes"),
    *("send_buffer_bytes", "receive_buffer_bytes", "connect_timeout_us", "no_options", "quick_ack"),
    *HEADER_FIELDS,
}


def check_option(name: str, value: int | str) -> None:
    """Raise ValueError if there is no such option, or not with this value."""
    if name not in OPTIONS:
        raise ValueError(f"{name}: no such option")
    if name == "congestion_control":
        if value not in CONGESTION:
            raise ValueError(f"congestion_control={value}: allowed are {', '.join(CONGESTION)}")
        return
    least, most = 0, (1 << 31) - 1
    if name in ("send_buffer_bytes", "receive_buffer_bytes"):
        least, most = BUFFER_BYTES
    elif name == "maximum_segment_bytes":
        least = 1
    elif name in ("keepalive_idle_us", "keepalive_interval_us", "user_timeout_us", "connect_timeout_us", "fin_wait_2_us"):
        most = 1 << 60
    elif name == "linger_s":
        least = -1
    elif name in HEADER_FIELDS:
        most = 255
    if not least <= int(value) <= most:
        raise ValueError(f"{name}={value}: must be from {least} to {most}")
