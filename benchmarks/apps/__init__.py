"""The applications that every server is measured with; they know nothing of the servers."""
