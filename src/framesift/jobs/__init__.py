"""What runs on a Ray cluster: wiring only. The library's functions do the work, here as on one machine.

No other package imports Ray, and nothing here starts a cluster: it connects to one that the user runs.

Raises:
    MissingExtraError: on import, where Ray is not installed.
"""

from importlib.util import find_spec

from ..errors import MissingExtraError

if find_spec("ray") is None:
    raise MissingExtraError("ray", "ray")
