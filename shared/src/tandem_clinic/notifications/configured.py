"""The channels that a clinic's settings give it."""

import ssl

from tandem_clinic.notifications.channels import Channel, Mail, Webhook
from tandem_clinic.notifications.wording import Sender
from tandem_clinic.settings import ClinicSettings
from tandem_platform.settings import SettingsUnfit, is_loopback


def refuse_unfit_channels(settings: ClinicSettings) -> None:
    """What each setting cannot say alone. Raises SettingsUnfit."""
    faults = []
    if settings.notify_smtp:
        if not _is_address(settings.notify_from):
            faults.append("TANDEM_NOTIFY_FROM is unfit: mail needs the e-mail address that it comes from")
        if settings.notify_smtp_tls == "none" and not is_loopback(settings.notify_smtp):
            faults.append("TANDEM_NOTIFY_SMTP_TLS is unfit: none is for a mail server on loopback")
        if settings.notify_smtp_ca is not None and not settings.notify_smtp_ca.is_file():
            faults.append("TANDEM_NOTIFY_SMTP_CA is unfit: must be a file of certificates")
    if (settings.notify_sms_url or settings.notify_webhook_url) and len(settings.notify_secret) < 32:
        faults.append("TANDEM_NOTIFY_SECRET is unfit: must have at least 32 characters")
    if faults:
        raise SettingsUnfit(faults)


def _is_address(text: str) -> bool:
    name, at, domain = text.partition("@")
    return bool(name and at and domain) and text.isascii() and text.isprintable() and " " not in text


def channels_of(settings: ClinicSettings) -> dict[str, Channel]:
    """By name: "email", "sms", "webhook"."""
    sender = Sender(settings.display_name, settings.notify_link, settings.notify_from)
    found: dict[str, Channel] = {}
    if settings.notify_smtp:
        host, _, port = settings.notify_smtp.rpartition(":")
        found["email"] = Mail(
            sender,
            host.strip("[]"),
            int(port),
            settings.notify_smtp_tls,
            _tls(settings),
            settings.notify_smtp_user,
            settings.notify_smtp_password,
            settings.notify_timeout,
        )
    gateways = {"sms": settings.notify_sms_url, "webhook": settings.notify_webhook_url}
    for name, url in gateways.items():
        if url:
            found[name] = Webhook(sender, url, settings.notify_secret, settings.notify_timeout)
    return found


def _tls(settings: ClinicSettings) -> ssl.SSLContext | None:
    if settings.notify_smtp_tls == "none":
        return None
    return ssl.create_default_context(cafile=settings.notify_smtp_ca)
