"""The Model Context Protocol server: an agent searches indexes, weighs captions, and looks at frames.

``library`` holds the indexes and answers in Python objects, ``answers`` gives these the shape that travels,
``server`` declares the tools over the official SDK, and ``transport`` runs them over stdio or HTTP. Needs the extra
``framesift[mcp]``.
"""
