"""What a client may send and how long it may take."""

MOST_RECOMMENDED = 1000
LONGEST_TEXT = 200  # characters of an id or a feature's value
LARGEST_NUMBER = 2**63 - 1
MOST_VALUES = 1000  # items of a newcomer, and values of a feature
LARGEST_BODY = 1 << 18  # bytes: enough for MOST_VALUES values of LONGEST_TEXT characters
SECONDS_TO_SEND = 10.0  # for a client to send the head of a request, and for its body
SECONDS_BETWEEN = 5  # that an idle connection stays open
MOST_CONNECTIONS = 512  # of a worker, which answers 503 to more
LONGEST_ECHO = 80  # characters of the client's input that an answer repeats
