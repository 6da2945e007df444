"""The door that works: claim a run, drive its graph, finish it."""
