"""What runs on a Ray cluster: wiring only. The library's functions do the work, here as on one machine."""
