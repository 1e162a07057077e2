"""Microsoft's identity platform: device code, polling, refreshing. Messages and verdicts are pure; the client sends them."""
