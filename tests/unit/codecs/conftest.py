"""Hypothesis without its deadline: on a busy machine that is a timing assertion."""

from hypothesis import settings

settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")
