"""What clients send and get: the fields of each route, and the objects that answer them."""
