"""Flags for commands, made of settings."""

from rls.runtime.command import flags


def as_flags(settings):
    """Return the flags that rebuild ``settings``."""
    return flags(vars(settings))
