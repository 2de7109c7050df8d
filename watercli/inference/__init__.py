"""What a trained model says: embeddings and simulated flow, computed and exported."""
