"""Slimvec: serve a trained reduction layer for embeddings, and keep training it."""

__version__ = "0.1.0"
