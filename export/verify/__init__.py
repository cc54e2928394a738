"""What a judge must pass to be kept: parity with PyTorch, exact products, agreement with its float32 form."""
