"""The client: numpy in, numpy out; every step applied once; the server's own errors."""

from app.client.acknowledgements import Acknowledgement, Item, Refused
from app.client.async_client import AsyncClient
from app.client.client import Client
from app.client.refusals import Answered
from app.client.retries import Retries
from app.client.stream import Window
from app.client.trouble import ConnectionTrouble, Interrupted, NotUnderstood, Unreachable
from app.types import Batch

__all__ = [
    "Acknowledgement",
    "Answered",
    "AsyncClient",
    "Batch",
    "Client",
    "ConnectionTrouble",
    "Interrupted",
    "Item",
    "NotUnderstood",
    "Refused",
    "Retries",
    "Unreachable",
    "Window",
]
