"""What authors of backends need to prove theirs: the conformance suite, real servers, and a network that misbehaves.

Comes in: a `Backend`, or a function that makes one. Goes out: one `Outcome` per promise of the protocol: kept, broken
(and how), or not offered. Promises: the checks use only what the protocol has; they write under a fresh prefix and
remove what they wrote; a check whose ability is absent is reported, never silently missing.

A new backend's test file is a factory and nothing else:

    test_promise = conformance(lambda environment, folder: MyBackend(...))
"""
