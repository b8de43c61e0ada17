"""Access: API keys, who holds one, and what they may ask. No HTTP, no torch.

| file | what it holds |
|---|---|
| `caller.py` | scopes, and who asks: what they may do, to which models |
| `api_key.py` | a key: made once, kept as its hash |
| `keys_file.py` | the file of keys: read strictly, replaced atomically |
| `key_ring.py` | the keys of a running server, reloaded when the file changes |
| `policy.py` | whether a server may start with these keys, or without any |
| `wrong_keys.py` | who presents wrong keys too often |
"""

from app.access.api_key import ApiKey, find_key_id, make_api_key
from app.access.caller import ANYONE, NOBODY, SCOPE_WORDS, Caller, KeyScope
from app.access.key_ring import KeyRing
from app.access.keys_file import edit_keys, read_keys
from app.access.policy import keys_of
from app.access.wrong_keys import WrongKeys

__all__ = [
    "ANYONE",
    "NOBODY",
    "SCOPE_WORDS",
    "ApiKey",
    "Caller",
    "KeyRing",
    "KeyScope",
    "WrongKeys",
    "edit_keys",
    "find_key_id",
    "keys_of",
    "make_api_key",
    "read_keys",
]
