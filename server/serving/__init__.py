"""The process on the network: uvicorn, its guards, its signals, its reloads."""
