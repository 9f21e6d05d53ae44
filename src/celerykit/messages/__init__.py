"""The contents of messages: the time of sending, the serializer, and the headers of dead letters."""
