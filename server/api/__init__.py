"""REST door: parse, one service call, respond."""
