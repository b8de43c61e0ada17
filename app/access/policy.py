"""What a server that listens there needs before it starts: keys, or an operator who said no."""

from __future__ import annotations

import logging
from ipaddress import ip_address

from app.access.key_ring import KeyRing
from app.errors import StartupError
from app.settings import Settings

log = logging.getLogger("slimvec.access")


def keys_of(settings: Settings) -> KeyRing | None:
    """The keys that a server with these settings asks for; nothing where everybody may ask.

    Raises:
        StartupError: `keys_file_invalid`; `keys_required`: others than this machine could reach it;
            `settings_invalid`: keys and no keys at once.
    """
    if settings.keys_file is not None:
        if settings.insecure_no_auth:
            raise StartupError(
                "settings_invalid",
                "expected --keys-file or --insecure-no-auth, got both; leave one out",
            )
        return KeyRing(settings.keys_file)
    if is_loopback(settings.host):
        return None
    if not settings.insecure_no_auth:
        raise StartupError(
            "keys_required",
            f"other machines can reach {settings.host}, so API keys are required: make one with "
            "slimvec keys add --keys-file FILE, then serve with --keys-file FILE; or type "
            "--insecure-no-auth, and whoever reaches it can change and delete models",
        )
    log.warning(
        "INSECURE: no API key is asked for on %s; whoever reaches it can change and delete models",
        settings.host,
    )
    return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
