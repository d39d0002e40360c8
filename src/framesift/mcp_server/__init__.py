"""The Model Context Protocol server: search, describe and fetch-frame tools for agents."""
