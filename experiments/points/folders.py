"""Folders of outputs: durable files, the identity of an output folder, and the removal of unfinished ones.

Knows files, not points.
"""

import os
import re
import shutil
import socket
import tempfile
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from experiments.config.interrupts import KEPT
from experiments.config.user_errors import UnfinishedError
from netstack.errors import ConfigError

UNFINISHED = ".unfinished-"
IDENTITY = "identity"
PARTS = ("points", "failures", "sweeps", "damaged", "artifacts", "traces")
"""Folders of an output folder."""


class UnwritableError(UnfinishedError):
    """An output cannot be written. Nothing that comes after it could be kept either."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(path, error)
        self.path, self.error = path, error

    def __str__(self) -> str:
        reason = self.error.strerror or self.error
        return f"{self.path} cannot be written ({reason}); {KEPT}"


@contextmanager
def writing(path: Path) -> Generator[None, None, None]:
    """Turn errors of what is written below a path into UnwritableError."""
    try:
        yield
    except OSError as error:
        raise UnwritableError(path, error) from error


def keep_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Write a folder of texts, which is complete and on the disk when it appears. One that another process wrote stays.

    Raises:
        UnwritableError: It cannot be kept, for example because the disk is full.
    """
    last = folder / list(files)[-1]
    if last.exists():
        return
    staging = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = folder.with_name(f"{UNFINISHED}{_owner(os.getpid())}-{uuid.uuid4().hex}")
        staging.mkdir()
        for name, text in files.items():
            _write_durably(staging / name, text)
        _sync(staging)
        staging.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        if not last.exists():
            raise UnwritableError(folder, error) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Delete the folders below `folder` that killed processes of this host left unfinished."""
    for path in folder.glob(f"{UNFINISHED}*"):
        host_and_process = path.name.removeprefix(UNFINISHED).rsplit("-", 1)[0]
        process = host_and_process.rsplit("-", 1)[-1]
        if process.isdecimal() and host_and_process == _owner(int(process)) and not psutil.pid_exists(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def output_folder(text: str) -> Path:
    """Return the output folder that a user named, with ``~`` as a home. Raises ConfigError where it is none."""
    if not text:
        raise ConfigError("output_dir", text, "must be a folder; the current one is .")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError("output_dir", text, "must be in a home that exists") from error


def check_output_dir(output_dir: Path) -> None:
    """Create the output folder. Raises ConfigError when it cannot be written."""
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=output_dir, prefix=".writable-")
        os.close(descriptor)
        Path(name).unlink()
    except OSError as error:
        raise ConfigError("output_dir", output_dir, f"must be a folder that can be written ({error.strerror})") from error
    for name in (*PARTS, IDENTITY):
        path = output_dir / name
        kind, is_kind = ("folder", path.is_dir()) if name in PARTS else ("file", path.is_file())
        if path.is_symlink() and not path.exists():
            raise ConfigError("output_dir", output_dir, f"must be a folder that can be used, and {path} is a link to nothing")
        if path.exists() and not is_kind:
            raise ConfigError(
                "output_dir", output_dir, f"must be a folder that can be used: {path} must be a {kind}, or not be there"
            )
    for path, needed in [(output_dir / name, os.W_OK | os.X_OK) for name in PARTS] + [(output_dir / IDENTITY, os.R_OK)]:
        if path.exists() and not os.access(path, needed):
            allowed = (
                f"must be a folder that can be used, and another user made {path}: its owner can `chmod -R g+rwX {output_dir}`"
            )
            raise ConfigError("output_dir", output_dir, allowed)
    identity = output_dir / IDENTITY
    if identity.exists() and not re.fullmatch(rb"[0-9a-f]{32}", identity.read_bytes()):
        allowed = f"must be a folder that can be used, and {identity} is damaged: without it, points get new runs in MLflow"
        raise ConfigError("output_dir", output_dir, allowed)


def output_id(output_dir: Path) -> str:
    """Return the identity of an output folder, which it keeps when it is moved. It gets one when first asked."""
    path = output_dir / IDENTITY
    if not path.exists():
        output_dir.mkdir(parents=True, exist_ok=True)
        identity = uuid.uuid4().hex
        new = path.with_name(f".identity-{identity}")
        try:
            _write_durably(new, identity)
            with suppress(FileExistsError):  # another process was faster
                os.link(new, path)
        finally:
            new.unlink(missing_ok=True)
    return path.read_text(encoding="utf-8")


def _owner(process: int) -> str:
    return f"{socket.gethostname()}-{process}"


def _write_durably(path: Path, text: str) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Wait until the disk has a folder's entries."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
