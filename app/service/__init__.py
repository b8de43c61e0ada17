"""Service: the verbs and their order: validate → compute → commit → publish → answer."""

from app.service.service import Service

__all__ = ["Service"]
