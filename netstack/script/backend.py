"""Makes the project's own endpoint for a script. The only module here that imports it."""

from typing import Any

from netstack.script.host import Backend, config_of
from netstack.script.settings import Settings, UnsupportedError


def endpoint_backend() -> Backend:
    """Return what makes endpoints for scripts; an endpoint that refuses a setting is an UnsupportedError of the script."""
    from netstack.host import Address, Endpoint, EndpointConfig  # compiles, which only parsing need not wait for

    def make(settings: Settings) -> Any:
        config: dict[str, Any] = {**config_of(settings.stack), "platform": settings.platform}
        if settings.platform == "freebsd" and settings.stack.receive_buffer_bytes is not None:
            config["receive_buffer_bytes"] = whole_segments(settings.stack.receive_buffer_bytes, settings)
        try:
            return Endpoint(EndpointConfig(addresses=(settings.local_address,), mtu_bytes=settings.mtu_bytes, seed=1, **config))
        except ValueError as error:
            raise UnsupportedError(f"setting {error}") from None

    return Backend(make, Address)


def whole_segments(size_bytes: int, settings: Settings) -> int:
    """Return a buffer's size rounded up to segments of the interface, as FreeBSD does when a connection is established."""
    mss_bytes = settings.mtu_bytes - (60 if settings.ip_version == 6 else 40)
    return -(-size_bytes // mss_bytes) * mss_bytes
