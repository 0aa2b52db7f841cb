"""The node: owns one machine and the containers on it. agent.py is where it begins."""
