"""The nouns: what every other room speaks in.

Comes in: nothing. Goes out: types, errors, the `Backend` protocol, `Body` and `Reader`, name rules, clock and ids.
Promises: standard library only, no I/O of its own beyond reading the file that a `Body` was made from, no global
clock or randomness: whoever needs time, ids or chance is handed them.
"""
