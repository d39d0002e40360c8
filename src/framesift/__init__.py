"""framesift: text-video retrieval that attends to the frames a text speaks of."""
