"""Training: losses, optimiser and schedule, the loop, the recipes of the bundled models."""
