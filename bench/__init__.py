"""What the server adds to a graph's tokens, beside a bare SSE app and no server at all."""
