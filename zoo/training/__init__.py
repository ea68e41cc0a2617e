"""What models are trained with: objectives, and the data that go with them."""
