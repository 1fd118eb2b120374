"""The standard library's file server, which also takes uploads. Run as a program it serves a folder: ADDRESS PORT FOLDER."""

import functools
import http.server
import socket
import sys
from pathlib import Path


class UploadHandler(http.server.SimpleHTTPRequestHandler):
    """GET, HEAD and PUT, silently."""

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        (Path(self.directory) / self.path.lstrip("/")).write_bytes(content)
        self.send_response(201)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


class UploadServer(http.server.ThreadingHTTPServer):
    """A thread for each connection."""

    def __init__(self, address: str, port: int, folder: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), functools.partial(UploadHandler, directory=folder))


if __name__ == "__main__":
    server = UploadServer(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    print("ready", flush=True)
    server.serve_forever()
