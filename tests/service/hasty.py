"""``python -m tests.service.hasty``: the service with turns of two seconds in place of a minute."""

import sys
from datetime import timedelta
from functools import partial

from scheduler import __main__, service
from vault_plugin.core.timing import Policy

if __name__ == "__main__":
    vars(service)["Policy"] = partial(Policy, turn_every=timedelta(seconds=2))
    sys.exit(__main__.main())
