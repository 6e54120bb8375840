"""Python's own mail libraries against a running cluster: smtplib submits, imaplib and poplib read.

Usage: python_clients.py HOST SUBMISSIONS SUBMISSION IMAPS IMAP POP3S POP3 CA LOGIN PASSWORD
Prints "ok" at its end; an assertion that fails is a failed test.
"""

import imaplib
import poplib
import smtplib
import ssl
import sys
from email.message import EmailMessage

host, *ports = sys.argv[1:8]
submissions, submission, imaps, imap, pop3s, pop3 = map(int, ports)
authority, login, password = sys.argv[8:11]
trust = ssl.create_default_context(cafile=authority)


def message(subject: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = login
    mail["To"] = login
    mail["Subject"] = subject
    mail.set_content("Grüße aus Mérida\n.a dot\n")
    mail.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="octet-stream", filename="ñ.bin")
    return mail


def submit() -> None:
    with smtplib.SMTP_SSL(host, submissions, context=trust) as smtp:
        smtp.login(login, password)
        smtp.send_message(message("through TLS"))
    with smtplib.SMTP(host, submission) as smtp:
        smtp.starttls(context=trust)
        smtp.login(login, password)
        smtp.send_message(message("through STARTTLS"))
        try:
            smtp.sendmail("somebody@else.example", [login], "Subject: forged\r\n\r\n")
            raise AssertionError("a sender that is not the account's own was taken")
        except smtplib.SMTPException:
            pass
    with smtplib.SMTP_SSL(host, submissions, context=trust) as smtp:
        try:
            smtp.login(login, "wrong")
            raise AssertionError("a wrong password was taken")
        except smtplib.SMTPAuthenticationError as error:
            assert error.smtp_code == 535, error


def read_by_imap() -> None:
    with imaplib.IMAP4(host, imap) as plain:
        plain.starttls(ssl_context=trust)
        plain.login(login, password)
    with imaplib.IMAP4_SSL(host, imaps, ssl_context=trust) as session:
        session.login(login, password)
        status, (count,) = session.select("INBOX")
        assert (status, count) == ("OK", b"2"), (status, count)
        status, (found,) = session.search(None, "SUBJECT", '"STARTTLS"')
        assert (status, found) == ("OK", b"2"), (status, found)
        status, parts = session.fetch("1", "(RFC822)")
        assert status == "OK" and b"Subject: through TLS" in parts[0][1]
        assert b".a dot\r\n" in parts[0][1] and b"..a dot" not in parts[0][1]
        status, parts = session.fetch("1", "(BODYSTRUCTURE)")
        assert status == "OK" and b'"octet-stream"' in parts[0].lower(), parts
        assert session.create("Ordner")[0] == "OK"
        assert session.append("Ordner", r"(\Flagged)", None, b"Subject: appended\r\n\r\nx\r\n")[0] == "OK"
        status, mailboxes = session.list()
        assert status == "OK" and any(b"Ordner" in mailbox for mailbox in mailboxes), mailboxes
        assert session.copy("1", "Ordner")[0] == "OK"
        assert session.store("2", "+FLAGS", r"(\Deleted)")[0] == "OK"
        status, expunged = session.expunge()
        assert (status, expunged) == ("OK", [b"2"]), expunged
        status, (count,) = session.select("Ordner", readonly=True)
        assert (status, count) == ("OK", b"2"), count
        status, parts = session.uid("FETCH", "1:*", "(FLAGS)")
        assert status == "OK" and rb"\Flagged" in parts[0], parts
        session.close()


def read_by_pop3() -> None:
    plain = poplib.POP3(host, pop3)
    plain.stls(context=trust)
    plain.user(login)
    plain.pass_(password)
    assert plain.stat()[0] == 1
    plain.quit()
    session = poplib.POP3_SSL(host, pop3s, context=trust)
    session.user(login)
    session.pass_(password)
    count, size = session.stat()
    _, lines, _ = session.retr(1)
    assert count == 1 and b"Subject: through TLS" in lines and b".a dot" in lines
    assert size == sum(len(line) + 2 for line in lines), (size, sum(len(line) + 2 for line in lines))
    assert len(session.uidl()[1]) == 1 and session.top(1, 0)[1]
    session.dele(1)
    session.quit()
    with imaplib.IMAP4_SSL(host, imaps, ssl_context=trust) as check:
        check.login(login, password)
        assert check.select("INBOX")[1] == [b"0"]


submit()
read_by_imap()
read_by_pop3()
print("ok")
