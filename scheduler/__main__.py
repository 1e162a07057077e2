"""``python -m scheduler``: start the service, stop it on SIGTERM or SIGINT."""

import os
import signal
import socket
import sys

from scheduler import logs
from scheduler.service import Service
from scheduler.settings import from_process
from vault_plugin.core.errors import ConfigurationError
from vault_plugin.vault import environment


def main() -> int:
    """Run until a signal; return the exit status: 0 stopped, 2 wrong settings."""
    try:
        settings = from_process()
        vault = environment.read(os.environ)
        logs.configure(settings.log_format, settings.log_level)
        bundle = str(settings.ca_bundle) if settings.ca_bundle else os.environ.get("REQUESTS_CA_BUNDLE")
        instance = f"{socket.gethostname()}:{settings.http[1]}"
        service = Service(settings, vault, instance, bundle)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: service.stop())
        service.run()
    except ConfigurationError as error:
        print(f"Error: {error}\nWhat to do: {error.remedy()}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
