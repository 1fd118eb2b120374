"""Makes the project's own endpoint for a script. The only module here that imports it."""

from typing import Any

from netstack.script.host import Backend, config_of
from netstack.script.settings import Settings, UnsupportedError


def endpoint_backend() -> Backend:
    """Return what makes endpoints for scripts; an endpoint that refuses a setting is an UnsupportedError of the script."""
    from netstack.host import Address, Endpoint, EndpointConfig  # compiles, which only parsing need not wait for

    def make(settings: Settings) -> Any:
        config: dict[str, Any] = {**config_of(settings.stack), "platform": settings.platform}
        try:
            return Endpoint(EndpointConfig(addresses=(settings.local_address,), mtu_bytes=settings.mtu_bytes, seed=1, **config))
        except ValueError as error:
            raise UnsupportedError(f"setting {error}") from None

    return Backend(make, Address)
