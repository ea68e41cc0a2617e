"""Models behind the interface that clients, harnesses and notebooks speak. Needs the extra `serve`."""
