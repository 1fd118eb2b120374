"""The files of an HTTP server: where a request's target lies, which part is asked for, listings, and uploads.

Never leaves the root. Knows no sockets and no messages.
"""

import errno
import html
import os
import re
import secrets
import stat
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from io import FileIO
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from netstack.wire.applications import CHUNK_BYTES


class HttpError(Exception):
    """A request that is answered by an error.

    Attributes:
        status: The status code.
        reason: One sentence for whoever reads the answer.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


PARTIAL = re.compile(r"\.netstack-[0-9a-f]{16}\.part")
"""Names of uploads in progress: nobody sees them."""
MOST_DIGITS = 18
"""Of a number that a request may mean: more digits are a larger number than any file has bytes."""


def partial_path(path: Path) -> Path:
    """Return a free name beside a file, for what will become that file."""
    return path.with_name(f".netstack-{secrets.token_hex(8)}.part")


def _number(digits: str) -> int:
    """Return a number, or one that is larger than any file if the client sends more digits: reading these takes long."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= MOST_DIGITS else 10**MOST_DIGITS


def path_of_target(target: str) -> str:
    """Return the decoded path of a request's target, in origin or absolute form (RFC 9112 section 3.2).

    Raises:
        HttpError: 400 for another form.
    """
    try:
        path = target.partition("?")[0] if target.startswith("/") else _path_of_url(target)
        return os.fsdecode(unquote(path, errors="surrogateescape").encode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise HttpError(400, "the target is no URL") from error


def _path_of_url(url: str) -> str:
    parts = urlsplit(url)
    if not (parts.scheme and parts.netloc):
        raise ValueError("neither a path nor a URL")
    return parts.path or "/"


def locate(root: Path, path: str) -> Path:
    """Return the file or folder below `root` that a decoded path names. It need not exist.

    Raises:
        HttpError: 404 for what lies outside of the root, also by a symbolic link.
    """
    try:
        found = (root / path.lstrip("/")).resolve()
        os.fsencode(found)
    except (OSError, ValueError, RuntimeError) as error:
        raise HttpError(404, "there is no such file") from error
    inside = found.is_relative_to(root.resolve())
    if not inside or any(PARTIAL.fullmatch(part) for part in found.relative_to(root.resolve()).parts):
        raise HttpError(404, "there is no such file")
    return found


def is_folder(path: Path) -> bool:
    """Return whether there is a folder of that name.

    Raises:
        HttpError: 403 if that may not be known, 414 if no file can have such a name.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise _no_access(error) from error


def _no_access(error: OSError) -> HttpError:
    if error.errno == errno.ENAMETOOLONG:
        return HttpError(414, "the name is too long for a file")
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return HttpError(503, "the server has too many files open")
    return HttpError(403, f"no access: {error.strerror}")


@dataclass(frozen=True)
class OpenFile:
    """A regular file that is open to be read."""

    file: FileIO
    size_bytes: int
    modified_s: int
    etag: str


class FilePart:
    """An iterator over a part of a file in chunks; fewer bytes than were asked for, if the file has become shorter."""

    def __init__(self, file: FileIO, part: range) -> None:
        """Own the file: it is closed at the end, or by `close`."""
        self._file = file
        self._left = len(part)
        file.seek(part.start)

    def __iter__(self) -> "FilePart":
        return self

    def __next__(self) -> bytes:
        chunk = self._file.read(min(self._left, CHUNK_BYTES)) if self._left else b""
        if not chunk:
            self.close()
            raise StopIteration
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        self._file.close()
        self._left = 0


def open_file(path: Path) -> OpenFile:
    """Open a regular file.

    Raises:
        HttpError: 404 if there is none, 403 if it may not be read, 414 for a name that is too long, 503 if too many files are
            open.
    """
    try:
        file = FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # a FIFO would wait
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HttpError(404, "there is no such file") from error
    except OSError as error:
        raise _no_access(error) from error
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        file.close()
        raise HttpError(403, "this is no regular file")
    etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    return OpenFile(file, status.st_size, int(status.st_mtime), etag)


def is_unchanged(found: OpenFile, headers: dict[str, str]) -> bool:
    """Return whether the client has this version (RFC 9110 sections 13.1.2 and 13.1.3)."""
    if "if-none-match" in headers:
        tags = [tag.strip().removeprefix("W/") for tag in headers["if-none-match"].split(",")]
        return "*" in tags or found.etag in tags
    since_s = _parse_date_s(headers.get("if-modified-since", ""))
    return since_s is not None and found.modified_s <= since_s


def wanted_range(found: OpenFile, headers: dict[str, str]) -> range | None:
    """Return the bytes that a request asks for; None is all of them.

    Several ranges, other units and what cannot be read are ignored, as RFC 9110 section 14.2 allows.

    Raises:
        HttpError: 416 for a range that begins behind the end.
    """
    condition = headers.get("if-range")
    if condition is not None and condition != found.etag and _parse_date_s(condition) != found.modified_s:
        return None
    match = re.fullmatch(r"bytes=\s*(\d*)-(\d*)\s*", headers.get("range", ""))
    if match is None or not (match[1] or match[2]):
        return None
    size = found.size_bytes
    if match[1]:
        first, last = _number(match[1]), min(_number(match[2]) if match[2] else size - 1, size - 1)
        if match[2] and len(match[2]) <= MOST_DIGITS and _number(match[2]) < first:
            return None
    else:
        first, last = max(0, size - _number(match[2])), size - 1
    if first >= size:
        found.file.close()
        raise HttpError(416, "the range lies behind the end of the file", Content_Range=f"bytes */{size}")
    return range(first, last + 1)


def _parse_date_s(text: str) -> int | None:
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None


def http_date(seconds: float | None = None) -> str:
    """Return a time, now if None, as a header has it (RFC 9110 section 5.6.7)."""
    return formatdate(seconds, usegmt=True)


def list_folder(folder: Path, path: str) -> bytes:
    """Return a page with links to what is in a folder.

    Raises:
        HttpError: 403 if it may not be read.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: (not _is_folder(entry), entry.name))
    except OSError as error:
        raise HttpError(403, "the folder may not be read") from error
    rows = [] if path.strip("/") == "" else ['<tr><td><a href="../">../</a></td><td></td></tr>']
    for entry in entries:
        if PARTIAL.fullmatch(entry.name):
            continue
        try:
            slash, size = ("/", "") if _is_folder(entry) else ("", f"{entry.stat().st_size:,} bytes")
        except OSError:
            continue  # it has gone, or is a link to nothing, to itself or to where nobody may look
        link = quote(os.fsencode(entry.name)) + slash
        rows.append(f'<tr><td><a href="./{link}">{_shown(entry.name)}{slash}</a></td><td align="right">{size}</td></tr>')
    title = _shown(path)
    page = f"<!DOCTYPE html>\n<html><head><meta charset=utf-8><title>{title}</title></head>\n<body><h1>{title}</h1>\n<table>\n"
    return (page + "\n".join(rows) + "\n</table></body></html>\n").encode()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _shown(name: str) -> str:
    return html.escape(os.fsencode(name).decode(errors="replace"))


def _is_regular(path: Path) -> bool:
    """Return whether there is a regular file of that name, False if there is nothing.

    Raises:
        HttpError: 403 for a FIFO, a device or a socket: a file must not take its place.
    """
    if not path.exists():
        return False
    if not path.is_file():
        raise HttpError(403, "this is no regular file")
    return True


class Upload:
    """A file that is being received. It has its name only once it is complete.

    Attributes:
        path: What it will be called.
        replaces: Whether there was a file of that name.
        size_bytes: What was received of it.
    """

    def __init__(self, path: Path) -> None:
        """Begin.

        Raises:
            HttpError: 409 if there is no such folder, or a folder of that name; 403 if it may not be written or is no regular
                file, 414 for a name that is too long, 503 if too many files are open.
        """
        self.path = path
        self.size_bytes = 0
        if is_folder(path):
            raise HttpError(409, "there is a folder of that name")
        self.replaces = _is_regular(path)
        self._partial = partial_path(path)
        try:
            self._file = FileIO(self._partial, "xb")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise HttpError(409, "there is no such folder") from error
        except OSError as error:
            raise _no_access(error) from error

    def write(self, data: bytes) -> None:
        """Append.

        Raises:
            HttpError: 507 if there is no room.
        """
        view = memoryview(data)
        self.size_bytes += len(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self.discard()
            raise HttpError(507, f"the file cannot be written: {error.strerror}") from error

    def finish(self) -> None:
        """Give the complete file its name.

        Raises:
            HttpError: 403 if that cannot be done.
        """
        try:
            self._file.close()
            _is_regular(self.path)
            self._partial.replace(self.path)
        except OSError as error:
            self._partial.unlink(missing_ok=True)
            raise HttpError(403, f"the file cannot be written: {error.strerror}") from error
        except HttpError:
            self._partial.unlink(missing_ok=True)
            raise

    def discard(self) -> None:
        """Forget what was received."""
        if not self._file.closed:
            self._file.close()
            self._partial.unlink(missing_ok=True)
