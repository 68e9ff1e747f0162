"""Decisions as pure functions.

Comes in: facts. Goes out: an answer with its reason. Promises: no I/O and no clock, so that explaining and simulating
cost nothing and the tests are tables.
"""
