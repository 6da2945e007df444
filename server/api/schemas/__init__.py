"""The shapes on the wire: pydantic models, one file a noun."""
