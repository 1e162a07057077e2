"""The verbs: gather, decide, act. Each call is short, waits for nothing, and may die on any line."""
