from daemon.outgoing import Outgoing
from daemon.settings import Settings
from daemon.urls import Policy


def hooks_for(settings: Settings) -> Outgoing:
    """The client that delivers webhooks."""
    denied = settings.fetch_hosts if settings.fetch_mode == "denylist" else []
    policy = Policy(
        "allowlist" if settings.webhook_hosts else "denylist",
        settings.webhook_hosts or denied,
        ("https", "http"),
        allow_private=settings.fetch_allow_private,
        setting="AUDIOLLA_WEBHOOK_HOSTS" if settings.webhook_hosts else "AUDIOLLA_FETCH_HOSTS",
    )
    return Outgoing(policy, timeout=settings.webhook_timeout, max_bytes=0)
