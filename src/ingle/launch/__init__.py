"""The only part that puts the parts together: the supervisor, the server's and the node's process, the local platform."""
