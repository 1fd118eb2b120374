"""A host without I/O around the stack core: IP packets in, IP packets out, sockets between them and applications."""

from netstack.host.config import Address, EndpointConfig
from netstack.host.endpoint import Endpoint
from netstack.host.listener import Listener
from netstack.host.socket import Socket

__all__ = ["Address", "Endpoint", "EndpointConfig", "Listener", "Socket"]
