"""HTTP/1.1 on sockets of the stack."""
