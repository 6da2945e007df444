"""From a line in langgraph.json to a graph that can run."""
