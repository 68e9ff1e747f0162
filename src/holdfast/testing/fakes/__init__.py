"""Servers that behave as the documentation of a provider says, on loopback, and misbehave on demand. None is the provider."""
