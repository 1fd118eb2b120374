"""Writes IP packets to a pcap file, which Wireshark and tcpdump open. Knows nothing of what is in a packet.

Format: draft-ietf-opsawg-pcap, with microseconds and LINKTYPE_RAW.
"""

import struct
from contextlib import suppress
from pathlib import Path
from types import TracebackType

MAGIC_MICROSECONDS = 0xA1B2C3D4
VERSION = (2, 4)
LONGEST_PACKET_BYTES = 65535
LINKTYPE_RAW = 101  # IPv4 or IPv6, as the first four bits say
FILE_HEADER = struct.Struct("<IHHiIII")
RECORD_HEADER = struct.Struct("<IIII")


class PcapWriter:
    """A capture file that is being written."""

    def __init__(self, path: Path) -> None:
        """Begin the file.

        Raises:
            OSError: It cannot be written.
        """
        self._file = path.open("wb")
        self._file.write(FILE_HEADER.pack(MAGIC_MICROSECONDS, *VERSION, 0, 0, LONGEST_PACKET_BYTES, LINKTYPE_RAW))

    def write(self, packet: bytes, time_us: int) -> None:
        """Append a packet, seen at `time_us` microseconds since 1970 (UTC)."""
        seconds, microseconds = divmod(time_us, 1_000_000)
        self._file.write(RECORD_HEADER.pack(seconds, microseconds, len(packet), len(packet)) + packet)

    def flush(self) -> None:
        """Hand over to the operating system what is still in this process."""
        self._file.flush()

    def close(self) -> None:
        """End the file. What a full disk did not take is lost, and was reported by `write` or `flush`."""
        with suppress(OSError):
            self._file.close()

    def __enter__(self) -> "PcapWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
