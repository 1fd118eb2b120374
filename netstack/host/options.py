"""The options of a connection: their names, the values that they can have, and where its control block has them.

Knows no socket: what concerns buffers and the application is the socket's.
"""

from typing import Any

from netstack.host.config import BUFFER_BYTES, EndpointConfig
from netstack.host.ip import HEADER_FIELDS
from netstack.tcp.pcb import CUBIC, NEW_RENO
from netstack.tcp.probe import PROBE_ALWAYS, PROBE_NEVER, PROBE_TAIL
from netstack.tcp.style import FREEBSD, LINUX, QUICK_ACKS, RFC

STYLES = {"any": RFC, "linux": LINUX, "freebsd": FREEBSD}
PROBES = {"never": PROBE_NEVER, "tail": PROBE_TAIL, "always": PROBE_ALWAYS}
TIMESTAMP_UNIT_US = 1000  # RFC 7323, section 5.4: 1 ms to 1 s
CONGESTION = {"cubic": CUBIC, "reno": NEW_RENO}

PCB_OPTIONS = {
    "no_delay": "no_delay",
    "cork": "cork",
    "user_timeout_us": "user_timeout_us",
    "syn_retries": "max_retransmissions",
    "delayed_ack_us": "delayed_ack_us",
}
"""Options that are a field of the pcb."""
COLD_OPTIONS = ("keepalive_interval_us", "keepalive_probes", "fin_wait_2_us")
"""Options that are a field of its cold state."""

OPTIONS = {
    *PCB_OPTIONS,
    *COLD_OPTIONS,
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


def configure(pcb: Any, cold: Any, board: Any, config: EndpointConfig) -> None:
    """Put the settings of a host into the records of a connection that is closed."""
    pcb["use_timestamps"], pcb["use_scaling"], pcb["use_sack"] = config.timestamps, config.window_scaling, config.sack
    board["use_rack"], board["use_probes"], board["use_dsack"] = config.rack, PROBES[config.loss_probes], config.dsack
    board["duplicate_threshold"] = config.duplicate_ack_threshold
    pcb["congestion"] = CONGESTION[config.congestion_control]
    pcb["initial_segments"] = config.initial_window_segments
    pcb["burst_segments"] = pcb["limited_transmit"] = 1
    pcb["min_rto_us"] = config.minimum_rto_us
    pcb["initial_rto_us"] = config.initial_rto_us
    pcb["delayed_ack_us"] = config.delayed_ack_us if config.delayed_ack else 0
    pcb["quick_acks"] = config.quick_acks if config.platform == "any" else 0
    pcb["user_timeout_us"] = config.user_timeout_us
    pcb["max_retransmissions"] = config.data_retries
    pcb["timestamp_unit_us"] = TIMESTAMP_UNIT_US
    pcb["style"], pcb["rto_slop_us"] = STYLES[config.platform], config.rto_slop_us
    pcb["keep_window"] = not config.slow_start_after_idle
    pcb["time_wait_us"] = 2 * config.maximum_segment_lifetime_us
    pcb["default_mss"] = config.default_mss_bytes
    cold["fin_wait_2_us"] = config.fin_wait_2_us
    cold["keepalive_interval_us"] = config.keepalive_interval_us
    cold["keepalive_probes"] = config.keepalive_probes


def set_in_pcb(pcb: Any, cold: Any, name: str, number: int) -> bool:
    """Set an option that the control block or its cold state has; return whether one has it."""
    if name == "congestion_control":
        pcb["congestion"] = number
    elif name == "no_options":
        pcb["no_options"] = number
        if number:
            pcb["use_timestamps"] = pcb["use_scaling"] = pcb["use_sack"] = 0
    elif name == "quick_ack":  # sends an acknowledgment that waits and delays none for a while, or waits for answers again
        cold["interactive"] = not number
        if number:
            pcb["quick_acks"] = QUICK_ACKS
            pcb["ack_now"] |= pcb["delack_deadline_us"] != 0
    elif name == "maximum_segment_bytes":
        pcb["own_mss"], pcb["mss"] = min(int(pcb["own_mss"]), number), min(int(pcb["mss"]), number)
    elif name in PCB_OPTIONS:
        pcb[PCB_OPTIONS[name]] = number
    elif name in COLD_OPTIONS:
        cold[name] = number
    else:
        return False
    return True


def get_from_pcb(pcb: Any, cold: Any, name: str) -> int | str:
    """Return an option that the control block or its cold state has.

    Raises:
        ValueError: There is no such option.
    """
    if name == "congestion_control":
        return next(key for key, number in CONGESTION.items() if number == pcb["congestion"])
    if name == "keepalive":
        return int(cold["keepalive_idle_us"] > 0)
    if name == "quick_ack":
        return int(not cold["interactive"])
    if name in COLD_OPTIONS:
        return int(cold[name])
    fields = {**PCB_OPTIONS, "maximum_segment_bytes": "mss", "no_options": "no_options"}
    if name not in fields:
        raise ValueError(f"{name}: no such option")
    return int(pcb[fields[name]])
