"""``python -m scheduler``: start the service, stop it on SIGTERM or SIGINT."""

import os
import signal
import socket
import sys
import threading

import urllib3

from scheduler import logs
from scheduler.service import Service
from scheduler.settings import from_process
from vault_plugin.core.errors import ConfigurationError
from vault_plugin.vault import environment

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _obey(service: Service) -> None:
    # Not sigtimedwait: after SIGCONT CPython's returns as if a signal had come.
    while signal.sigwait(SIGNALS):
        service.stop()


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
        threading.Thread(target=_obey, args=(service,), name="signals", daemon=True).start()
        service.run()
    except ConfigurationError as error:
        print(f"Error: {error}\nWhat to do: {error.remedy()}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
