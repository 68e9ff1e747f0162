"""Numbered steps from an empty database to the schema. A test proves that their sum is `holdfast.catalog.schema`."""
