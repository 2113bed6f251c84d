"""What a notification says: that something waits, how much, and where. Never about whom, and never what."""

from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from tandem_clinic.store.notices import Message


@dataclass(frozen=True, slots=True)
class Sender:
    """Who notifies. Only the practice's own name and addresses are ever said."""

    practice: str
    link: str = ""
    mail_from: str = ""

    def sentence(self, message: Message) -> str:
        waits = "1 item waits" if message.items == 1 else f"{message.items} items wait"
        where = f"\n{self.link}" if self.link else ""
        return f"{waits} for you on the worklist of {self.practice}.{where}"

    def mail(self, message: Message) -> bytes:
        """The same bytes whenever it is made, so that sending again sends the same."""
        mail = EmailMessage(policy=SMTP)
        mail["Message-ID"] = f"<{message.message_id}@{self.mail_from.rpartition('@')[2]}>"
        mail["Date"] = format_datetime(message.created_at)
        mail["From"] = self.mail_from
        mail["To"] = message.address
        mail["Subject"] = "Something waits for you on the worklist"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(self.sentence(message) + "\n")
        return mail.as_bytes()
