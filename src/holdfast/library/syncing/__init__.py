"""Trees of files made equal to what a bucket or a store holds, and the other way round.

Comes in: a directory, and a `Place` (part of a bucket of Holdfast, or of a store without a catalog). Goes out: a `Report`.
Promises: memory does not grow with the number of files; nothing outside of the directory is read or written; a file or an
object appears whole or not at all; nothing is removed before both sides are known to their ends, nor more of it than was
allowed; a run that is killed is continued by the next one.
"""
