"""What can be wrong with a strategic merge patch."""


class StrategicPatchError(ValueError):
    """The patch cannot be applied; the message is that of the real server."""


class BadPatchFormat(StrategicPatchError):  # noqa: N818 - named as in the messages
    """A directive is malformed."""


class ListOfListsError(StrategicPatchError):
    """A list that is to be merged holds lists."""
