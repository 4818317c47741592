"""Fine-tuning on one's own data: settings, splits by time, and the runs."""
