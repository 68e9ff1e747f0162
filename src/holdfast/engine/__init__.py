"""The only room where bytes and rows meet.

Comes in: verbs on `ObjectRef`s, with `Body`s. Goes out: `Version`s, and `Reader`s of bytes. Promises: an acknowledged
write survives the loss of power, a reader sees one whole version, and only `sweep` deletes bytes.
"""
