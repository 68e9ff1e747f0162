"""The peers: each module starts one server on loopback over a directory of its own, and says how to talk to it.

In: an empty directory. Out: a `Peer`, inside a context manager that ends what it started by process id. Raises
`PeerMissingError`, with what to install, where a peer cannot run.
"""
