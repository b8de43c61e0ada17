"""Upstream: the client of a server that makes embeddings of text, in OpenAI's protocol."""

from app.upstream.upstream import Upstream

__all__ = ["Upstream"]
