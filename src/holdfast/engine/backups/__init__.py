"""Backups: what lies in a set, and how it is written and read.

Comes in: rows of the catalog at one moment, segments of versions, and a store. Goes out: files under one prefix of that
store, readable with nothing but them and an age identity; and from these, rows and segments again. Promises: a set
whose manifest is there is whole; a file that is not what its manifest says is named, and nothing of it is used.
`docs/concepts/backup-format.md` describes the files.
"""
