"""Service: the verbs and their order: validate → compute → commit → publish → answer."""

from app.service.reduce_options import NO_OPTIONS, ReduceOptions
from app.service.service import Service

__all__ = ["NO_OPTIONS", "ReduceOptions", "Service"]
