"""From a config to a module on a device, and the face by which people know models."""
