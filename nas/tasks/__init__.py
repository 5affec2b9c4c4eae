"""What networks are for, one folder a task: data, preprocessing, losses, scores."""
