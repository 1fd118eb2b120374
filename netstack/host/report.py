"""What a connection tells of itself, as TCP_INFO of Linux does (tcp(7), linux/tcp.h). Changes nothing."""

from typing import Any

from netstack.tcp.scoreboard import CongestionState
from netstack.tcp.states import State

_ATO_US = 40_000
_UNKNOWN_RTT_US = 0xFFFFFFFF
_UNKNOWN_RATE = (1 << 64) - 1


def report(pcb: Any, cold: Any, board: Any, passive: bool, unsent_bytes: int) -> dict[str, int]:
    """Return what TCP_INFO contains, by its names and in its units (us, segments).

    Args:
        pcb: The protocol control block.
        cold: Its cold state.
        board: The record of transmissions.
        passive: Whether the peer opened the connection.
        unsent_bytes: What waits in the send buffer to be sent for the first time.
    """
    mss = max(int(pcb["mss"]), 1)
    flight = (int(pcb["snd_max"]) - int(pcb["snd_una"])) & 0xFFFFFFFF
    recorded = pcb["state"] >= State.ESTABLISHED and bool(board["use_rack"] or not pcb["use_sack"])
    sacked = int(board["sacked_segments"]) + int(board["duplicate_segments"]) if recorded else _sacked_segments(pcb, cold, mss)
    acknowledged = (int(pcb["snd_una"]) - int(pcb["iss"])) & 0xFFFFFFFF
    received = (int(pcb["rcv_nxt"]) - int(pcb["irs"])) & 0xFFFFFFFF
    return {
        "snd_mss": mss,
        "rcv_mss": max(int(cold["rcv_mss"]), min(mss, 536)),
        "advmss": int(pcb["own_mss"]) - (12 if pcb["use_timestamps"] else 0),
        "snd_cwnd": int(pcb["snd_cwnd"]) // mss,
        "snd_ssthresh": min(int(pcb["snd_ssthresh"]) // mss, 0x7FFFFFFF),
        "snd_wnd": int(pcb["snd_wnd"]),
        "rcv_space": int(pcb["receive_buffer_bytes"]),
        "rto": int(pcb["rto_us"]),
        "ato": _ATO_US,
        "rtt": int(pcb["srtt_us"]),
        "rttvar": int(pcb["rttvar_us"]),
        "min_rtt": _least_rtt_us(board),
        "reordering": max(int(board["reordering"]), int(board["duplicate_threshold"])),
        "reord_seen": int(board["reordering_seen"]),
        "dsack_dups": int(board["duplicates_reported"]),
        "unacked": int(board["outstanding_segments"]) if recorded else -(-flight // mss),
        "sacked": sacked,
        "lost": int(board["lost_segments"]),
        "retrans": int(board["repeated_segments"]),
        "fackets": 0,
        "pacing_rate": _pacing_rate(pcb, flight),
        "total_retrans": int(pcb["retransmitted_segments"]),
        "retransmits": int(pcb["rexmt_shift"]),
        "backoff": int(pcb["rexmt_shift"]),
        "probes": int(pcb["rexmt_shift"]) if pcb["snd_wnd"] == 0 else 0,
        "snd_wscale": int(pcb["snd_scale"]),
        "rcv_wscale": int(pcb["rcv_scale"]),
        "bytes_acked": max(acknowledged - int(passive), 0),
        "bytes_received": max(received - 1, 0),
        "notsent_bytes": unsent_bytes,
        "segs_in": int(cold["segments_in"]),
        "segs_out": int(cold["segments_out"]),
        "options": int(pcb["use_timestamps"])
        | int(pcb["use_sack"]) << 1
        | int(pcb["use_scaling"]) << 2
        | int(pcb["use_ecn"]) << 3,
        "ca_state": int(board["congestion_state"] if recorded else _congestion_state(pcb, flight, sacked)),
    }


def _pacing_rate(pcb: Any, flight: int) -> int:
    """Bytes per second: a window per round trip, doubled in slow start and a fifth more later (tcp_update_pacing_rate())."""
    if not pcb["srtt_us"]:
        return _UNKNOWN_RATE
    percent = 200 if pcb["snd_cwnd"] < pcb["snd_ssthresh"] // 2 else 120
    return max(int(pcb["snd_cwnd"]), flight) * 1_000_000 // int(pcb["srtt_us"]) * percent // 100


def _least_rtt_us(board: Any) -> int:
    samples = [int(board[name]) for name in ("min_rtt_us", "min_rtt_recent_us") if board[name]]
    return min(samples, default=_UNKNOWN_RTT_US)


def _sacked_segments(pcb: Any, cold: Any, mss: int) -> int:
    """Segments that the peer reported, without a record of transmissions."""
    ranges = range(int(pcb["sacked_count"]))
    return -(-sum((int(cold["sacked_end"][index]) - int(cold["sacked_start"][index])) & 0xFFFFFFFF for index in ranges) // mss)


def _congestion_state(pcb: Any, flight: int, sacked: int) -> CongestionState:
    """Return what a sender without a record of transmissions believes of the network."""
    if pcb["rexmt_shift"] and flight:
        return CongestionState.LOSS
    if pcb["in_recovery"]:
        return CongestionState.RECOVERY
    return CongestionState.DISORDER if sacked else CongestionState.OPEN
