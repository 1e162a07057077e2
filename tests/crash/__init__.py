"""The real service, killed before and after every store write and every HTTP call, and started again."""
