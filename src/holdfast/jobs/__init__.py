"""Work that goes on by itself.

Comes in: an engine. Goes out: catalog rows and bytes as they should be. Promises: any number of replicas may run the
same work at once, and dying in the middle of it is harmless.
"""
