"""A host without I/O around the stack core: IP packets in, IP packets out, sockets between them and applications."""

from netstack.tcp.endpoint.config import Address, EndpointConfig
from netstack.tcp.endpoint.endpoint import Endpoint
from netstack.tcp.endpoint.listener import Listener
from netstack.tcp.endpoint.socket import Socket

__all__ = ["Address", "Endpoint", "EndpointConfig", "Listener", "Socket"]
