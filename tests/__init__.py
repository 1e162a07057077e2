"""Tests of vault-plugin-secrets-vb365."""
