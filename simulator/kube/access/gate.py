"""What every request passes before anything else of it is looked at: who asks, as whom, and whether he may."""

from collections.abc import Iterable

from simulator.kube.access.attributes import Attributes
from simulator.kube.access.authorization import Authorizer
from simulator.kube.access.credentials import Credentials, PeerSubject
from simulator.kube.access.impersonation import impersonated, wanted_user
from simulator.kube.access.users import User

AUTHORIZATION = "authorization"


def admitted(
    credentials: Credentials,
    authorizer: Authorizer,
    attributes: Attributes,
    headers: Iterable[tuple[str, str]],
    subject: PeerSubject | None,
) -> User:
    """The user who makes the request, if he may.

    `headers` are those of the request, `subject` that of its client certificate.

    Raises:
        ApiFailure: 401 the credentials are unknown, 403 the user may not do this, 400 for wrong `Impersonate-` headers.
    """
    found = list(headers)
    authorization = next((value for name, value in found if name.lower() == AUTHORIZATION), "")
    user = credentials.authenticated(authorization, subject)
    wanted = wanted_user(found)
    if wanted is not None:
        requestor = user
        user = impersonated(user.name, wanted, attributes, lambda needed: authorizer.allows(requestor, needed))
    authorizer.check(user, attributes)
    return user
