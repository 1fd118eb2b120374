"""What a connection tells of itself, as TCP_INFO of Linux does (tcp(7), linux/tcp.h). Changes nothing."""

from typing import Any

from netstack.tcp.scoreboard import LOST, SACKED

_ATO_US = 40_000
_UNKNOWN_RTT_US = 0xFFFFFFFF
_UNKNOWN_RATE = (1 << 64) - 1
OPEN, DISORDER, RECOVERY, LOSS = 0, 1, 3, 4  # TCP_CA_*


def report(pcb: Any, board: Any, passive: bool, unsent_bytes: int) -> dict[str, int]:
    """Return what TCP_INFO contains, by its names and in its units (us, segments).

    Args:
        pcb: The protocol control block.
        board: The record of transmissions.
        passive: Whether the peer opened the connection.
        unsent_bytes: What waits in the send buffer to be sent for the first time.
    """
    mss = max(int(pcb["mss"]), 1)
    flight = (int(pcb["snd_max"]) - int(pcb["snd_una"])) & 0xFFFFFFFF
    sacked, lost, retransmitted = _segments(pcb, board, mss)
    acknowledged = (int(pcb["snd_una"]) - int(pcb["iss"])) & 0xFFFFFFFF
    received = (int(pcb["rcv_nxt"]) - int(pcb["irs"])) & 0xFFFFFFFF
    loss = int(pcb["rexmt_shift"]) > 0 and flight > 0
    return {
        "snd_mss": mss,
        "rcv_mss": max(int(pcb["rcv_mss"]), min(mss, 536)),
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
        "reordering": 3,
        "unacked": -(-flight // mss),
        "sacked": sacked,
        "lost": lost,
        "retrans": retransmitted,
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
        "segs_in": int(pcb["segments_in"]),
        "segs_out": int(pcb["segments_out"]),
        "options": int(pcb["use_timestamps"])
        | int(pcb["use_sack"]) << 1
        | int(pcb["use_scaling"]) << 2
        | int(pcb["use_ecn"]) << 3,
        "ca_state": LOSS if loss else RECOVERY if pcb["in_recovery"] else DISORDER if sacked else OPEN,
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


def _segments(pcb: Any, board: Any, mss: int) -> tuple[int, int, int]:
    """Segments that the peer reported, that are lost, and that are in flight again."""
    if not (board["use_rack"] and pcb["use_sack"]):
        ranges = range(int(pcb["sacked_count"]))
        sacked = sum((int(pcb["sacked_end"][index]) - int(pcb["sacked_start"][index])) & 0xFFFFFFFF for index in ranges)
        return -(-sacked // mss), 0, 0
    counts = {"sacked": 0, "lost": 0, "again": 0}
    for index in range(int(board["run_count"])):
        segments, state = int(board["run_segments"][index]), int(board["run_state"][index])
        if state == SACKED:
            counts["sacked"] += segments
        else:
            counts["lost"] += segments if state == LOST or board["run_retransmitted"][index] else 0
            counts["again"] += segments if state != LOST and board["run_retransmitted"][index] else 0
    return counts["sacked"], counts["lost"], counts["again"]
