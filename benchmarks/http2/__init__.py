"""Measures HTTP/2: small requests, 100 MiB each way, and WebSockets in its streams."""
