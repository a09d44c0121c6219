"""torch: the physics as differentiable functions. Imports torch; everything above imports it inside functions."""
