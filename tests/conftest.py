"""Fixtures by subject: the real server, nodes held by the test, a model on loopback."""

pytest_plugins = [
    "fix_server",
    "fix_gate",
    "fix_openai",
    "fix_receiver",
    "fix_postgres",
    "fix_redis",
    "fix_browser",
    "fix_proxy",
]
