"""Tenants, keys and tokens."""

from __future__ import annotations

from typing import Final

from holdfast.api import access
from holdfast.api import access_models as models
from holdfast.api.routing import Param, Route

_TENANT: Final = Param("tenant", "another tenant than one's own: for operators")
_GRACE: Final = Param(
    "grace", "until it is removed: seconds, or text such as `30d`", {"type": "string", "default": "30d"}
)
_KEYS: Final = "/api/v1/keys"
_TENANTS: Final = "/api/v1/tenants"
_ONE: Final = _TENANTS + "/{tenant}"

ACCESS: Final = (
    Route("GET", "/api/v1/whoami", access.whoami, "Show who asks", answers={200: models.Who}),
    Route("GET", _KEYS, access.list_keys, "List API keys", (_TENANT,), answers={200: models.Keys}),
    Route("POST", _KEYS, access.create_key, "Make an API key", (), models.NewKey, {201: models.KeyInfo}),
    Route(
        "DELETE",
        _KEYS + "/{key_id}",
        access.revoke_key,
        "Revoke an API key",
        (_TENANT,),
        answers={200: models.KeyInfo},
    ),
    Route(
        "POST",
        "/api/v1/tokens",
        access.create_token,
        "Sign a token",
        (),
        models.NewToken,
        {201: models.TokenInfo},
    ),
    Route(
        "POST",
        "/api/v1/tokens/revoke",
        access.revoke_token,
        "Revoke a token",
        (),
        models.TokenName,
        {204: None},
    ),
    Route("GET", _TENANTS, access.list_tenants, "List tenants", answers={200: models.Tenants}),
    Route(
        "POST",
        _TENANTS,
        access.create_tenant,
        "Make a tenant",
        (),
        models.NewTenant,
        {201: models.TenantInfo},
    ),
    Route("GET", _ONE, access.show_tenant, "Show a tenant", answers={200: models.TenantInfo}),
    Route(
        "PATCH",
        _ONE,
        access.update_tenant,
        "Change, suspend or resume a tenant",
        (),
        models.TenantChange,
        {200: models.TenantInfo},
    ),
    Route(
        "DELETE",
        _ONE,
        access.delete_tenant,
        "Delete a tenant",
        (_GRACE,),
        answers={202: models.TenantInfo},
    ),
    Route(
        "POST",
        _ONE + "/restore",
        access.restore_tenant,
        "Undo the deletion of a tenant",
        answers={200: models.TenantInfo},
    ),
    Route(
        "POST",
        _ONE + "/provision",
        access.provision,
        "Make a tenant's hierarchy",
        (),
        models.Hierarchy,
        {200: models.HierarchyInfo},
    ),
    Route(
        "POST",
        _ONE + "/rotate-signing",
        access.rotate_signing,
        "Revoke all signed URLs of a tenant",
        answers={200: models.TenantInfo},
    ),
)
