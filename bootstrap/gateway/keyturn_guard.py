"""stub"""

import hashlib
import hmac
import json
import os
import time
from pathlib import Path

from litellm.proxy._types import LitellmUserRoles, ProxyErrorTypes, ProxyException, UserAPIKeyAuth

PATH = Path(__file__).with_name("keyturn-keyset.json")
PUBLIC = {"/health/liveliness", "/health/liveness", "/health/readiness"}
_seen = (None, [])


def _keys():
    global _seen
    try:
        st = os.stat(PATH)
        sig = (st.st_ino, st.st_mtime_ns, st.st_size)
        if sig != _seen[0]:
            with open(PATH) as f:
                _seen = (
                    sig,
                    [(k["id"], k["sha256"], k.get("not_after")) for k in json.load(f)["keys"]],
                )
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return _seen[1]


async def user_api_key_auth(request, api_key):
    if request.url.path in PUBLIC:
        return UserAPIKeyAuth(user_role=LitellmUserRoles.INTERNAL_USER_VIEW_ONLY)
    if api_key:
        digest, now = hashlib.sha256(api_key.encode()).hexdigest(), time.time()
        for name, sha, end in _keys():
            if hmac.compare_digest(digest, sha) and (end is None or now < end):
                return UserAPIKeyAuth(
                    api_key="lab-" + name, user_id="lab", user_role=LitellmUserRoles.INTERNAL_USER
                )
    raise ProxyException(
        message="Authentication Error, invalid key",
        type=ProxyErrorTypes.auth_error,
        param="None",
        code=401,
    )
