"""Makes the project's own endpoint for a script. The only module here that imports it."""

from importlib import import_module
from typing import Any

from netstack.tcp.script.host import Backend, config_of
from netstack.tcp.script.settings import Settings, UnsupportedError


def endpoint_backend() -> Backend:
    """Return what makes endpoints for scripts.

    Raises:
        UnsupportedError: There is no endpoint.
    """
    try:
        endpoint = import_module("netstack.tcp.endpoint")
    except ModuleNotFoundError:
        raise UnsupportedError("there is no endpoint to run scripts against, only --check") from None

    def make(settings: Settings) -> Any:
        config = endpoint.EndpointConfig(
            addresses=(settings.local_address,), mtu_bytes=settings.mtu_bytes, seed=1, **config_of(settings.stack)
        )
        try:
            return endpoint.Endpoint(config)
        except ValueError as error:
            raise UnsupportedError(f"setting {error}") from None

    return Backend(make, endpoint.Address)
