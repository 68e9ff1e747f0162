"""Typed settings.

Comes in: defaults, `holdfast.toml`, variables of older storage services (`MINIO_*`, `PORT`…), `HOLDFAST_*` variables,
flags; later ones win. Goes out: one frozen `Settings`.
Promises: an unknown or wrong setting is a `ConfigError` that names it and says what to do; secrets never show.
"""

from holdfast.config.settings import Settings, StoreSettings, load

__all__ = ["Settings", "StoreSettings", "load"]
