"""The rules: authorise, decide, one transaction, return a model."""
