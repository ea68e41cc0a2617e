"""One model over many devices, on torch's own engine: how it is laid out, cut, gathered, and started."""
