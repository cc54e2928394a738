"""What a judge is: its scale, prompt, layers and folder. Imports nothing else of lager-onnx."""
