"""What every store needs whatever its driver: each layer is a `Backend` around a `Backend`.

Comes in: a backend and settings. Goes out: the same five verbs with one thing added: tries, a check, a limit, figures,
a refusal, a failure on purpose. Promises: a layer offers only what its inner backend offers *and* the layer preserves;
it holds no more of a body than one chunk; the order of layers is written in `stack` and nowhere else.
"""
