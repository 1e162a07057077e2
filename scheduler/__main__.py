"""``python -m scheduler``: start the service, stop it on SIGTERM or SIGINT."""

import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import urllib3

from scheduler import logs
from scheduler.service import Service
from scheduler.settings import from_process
from vault_plugin.core.errors import ConfigurationError
from vault_plugin.vault import environment

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LOOK = 0.2


def main() -> int:
    """Run until a signal; return the exit status: 0 stopped, 2 wrong settings."""
    # Signals are waited for, not handled: a handler may interrupt whatever holds the lock that it needs.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        settings = from_process()
        vault = environment.read(os.environ)
        logs.configure(settings.log_format, settings.log_level)
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # said once, by the server's name
        bundle = str(settings.ca_bundle) if settings.ca_bundle else os.environ.get("REQUESTS_CA_BUNDLE")
        instance = f"{socket.gethostname()}:{settings.http[1]}"
        service = Service(settings, vault, instance, bundle)
        with ThreadPoolExecutor(1, thread_name_prefix="service") as pool:
            running = pool.submit(service.run)
            while not running.done():
                if signal.sigtimedwait(SIGNALS, LOOK) is not None:
                    service.stop()
            running.result()
    except ConfigurationError as error:
        print(f"Error: {error}\nWhat to do: {error.remedy()}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
