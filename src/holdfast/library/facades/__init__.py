"""Doors in the shape of other libraries, so that code written for these goes on working.

Comes in: their classes, methods and arguments. Goes out: the verbs of the library's clients, whatever is behind them
(an engine in this process, or a server), and their answers in the shape that such code expects. Promises: thin, no
rules of their own; an error is an error of `holdfast.core.errors`, never False or None; what cannot be placed where it
belongs is refused and never put somewhere else; whole files are in memory only where a method takes or returns bytes.

Short names for all of them: `holdfast.facades`.
"""
