"""Pages for people with a browser: the list of operations, and the session that it is tried with.

Comes in: a token, once. Goes out: a cookie that scripts cannot read and that counts for requests of our own pages only.
"""
