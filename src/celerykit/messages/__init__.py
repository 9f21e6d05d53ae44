"""What is in a message: when it was sent, how it is written, and the queue of those that were given up."""
