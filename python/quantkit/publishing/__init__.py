"""What a publisher adds to files: a model card, and a Modelfile for Ollama."""
