"""Every generator of the reasoning-gym package behind one environment."""
