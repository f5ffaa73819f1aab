"""Tells pydantic to build a schema when a class is first used. Has to be imported before doubleratchet and x3dh are.

Both have seventeen classes for what they keep, nine of them for formats before today's, which jet never wrote; by
default a schema of each is built at every start. Not needed any more when `tests/xmpp/test_late_schemas.py` passes
without it.
"""

from pydantic import BaseModel

BaseModel.model_config["defer_build"] = True
