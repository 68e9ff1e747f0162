"""The drivers: one package or module per kind of storage, each of them a `holdfast.core.backend.Backend`.

Comes in: a store's name, its settings and an `Environment`. Goes out: a backend that keeps the promises of the
protocol, and only errors of `holdfast.core.errors`. Promises: a driver knows no other driver, translates every
foreign error in one place, and is imported only when a store asks for it (`registry`).
"""
