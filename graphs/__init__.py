"""Sample graphs, one idea each: langgraph.json names them, `make dev` serves them."""
