"""What is kept on disk: rows, blobs, log lines."""
