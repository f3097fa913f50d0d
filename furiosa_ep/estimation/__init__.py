"""What a model would take on a real device, told without one and without running it."""
