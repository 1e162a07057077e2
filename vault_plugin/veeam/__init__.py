"""Veeam Backup for Microsoft 365's token endpoint, API versions 4 to 8. Messages are pure; the client sends them."""
