"""Video: pictures with their times, and what happens in them."""
