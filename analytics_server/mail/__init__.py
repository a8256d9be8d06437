"""Mail: the messages that are sent to people, and the client that hands them to a mail server."""
