"""Configurations of older storage services, turned into a `holdfast.toml`.

Comes in: a `storage_config.json`, a `remote_storage.json`, a `config.yaml`, a `.env` file, or the variables of this process. Goes out: an
`Imported`, which writes itself as TOML with a comment for everything that could not be carried over.
Promises: nothing is left out in silence; no secret is in the text unless it is asked for; what cannot be placed where the
old configuration wanted it is refused later, and never placed somewhere else.
"""

from holdfast.config.importing.document import Imported
from holdfast.config.importing.reading import import_environment, import_file

__all__ = ["Imported", "import_environment", "import_file"]
