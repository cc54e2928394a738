"""What people said of responses: reading it, and the layer logits of a judge beside it."""
