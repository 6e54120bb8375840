"""imapclient (from PyPI) against a running cluster.

Usage: imapclient_client.py HOST IMAPS CA LOGIN PASSWORD
Prints "ok" at its end; an assertion that fails is a failed test.
"""

import ssl
import sys
import threading
from datetime import datetime, timezone

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError, LoginError

host, port, authority, login, password = sys.argv[1:6]
trust = ssl.create_default_context(cafile=authority)


def connect() -> IMAPClient:
    client = IMAPClient(host, port=int(port), ssl=True, ssl_context=trust, timeout=30)
    client.login(login, password)
    return client


def letter(number: int) -> bytes:
    head = f"From: {login}\r\nTo: {login}\r\nSubject: letter {number}\r\nMessage-ID: <{number}@imapclient>\r\n"
    mime = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    return f"{head}{mime}Grüße {number}\r\n".encode()


try:
    IMAPClient(host, port=int(port), ssl=True, ssl_context=trust).login(login, "wrong")
    raise AssertionError("a wrong password was taken")
except LoginError:
    pass

with connect() as one:
    for capability in (b"IDLE", b"MOVE", b"UIDPLUS", b"NOTIFY", b"THREAD=REFERENCES", b"SORT", b"QUOTA", b"ACL"):
        assert capability in one.capabilities(), capability
    assert one.namespace().personal == (("", "/"),), one.namespace()
    one.create_folder("Entwürfe/2026")
    one.subscribe_folder("Entwürfe/2026")
    folders = {name: flags for flags, _, name in one.list_folders()}
    assert "Entwürfe/2026" in folders and b"\\Noselect" in folders["Entwürfe"], folders
    assert one.find_special_folder(b"\\Sent") == "Sent"
    when = datetime(2026, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
    for number in range(1, 6):
        one.append("INBOX", letter(number), flags=[b"\\Flagged"] if number % 2 else [], msg_time=when)
    chosen = one.select_folder("INBOX")
    assert chosen[b"EXISTS"] == 5, chosen
    assert one.search(["FLAGGED"]) == [1, 3, 5]
    assert one.search(["SUBJECT", "letter 4"]) == [4]
    assert one.search(["TEXT", "Grüße 2"], charset="UTF-8") == [2]
    assert one.sort(["REVERSE SUBJECT"]) == [5, 4, 3, 2, 1]
    assert len(one.thread()) == 5
    fetched = one.fetch([1, 2], ["ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE", "RFC822.SIZE", "BODY.PEEK[]"])
    for number in (1, 2):
        data = fetched[number]
        assert data[b"ENVELOPE"].subject == f"letter {number}".encode(), data
        assert data[b"BODY[]"] == letter(number) and data[b"RFC822.SIZE"] == len(letter(number))
        assert data[b"BODYSTRUCTURE"][:2] == (b"text", b"plain"), data[b"BODYSTRUCTURE"]
        assert data[b"INTERNALDATE"].timestamp() == when.timestamp(), data[b"INTERNALDATE"]
    one.add_flags([2], [b"\\Seen", b"$Forwarded"])
    assert set(one.get_flags([2])[2]) >= {b"\\Seen", b"$Forwarded"}, one.get_flags([2])
    one.remove_flags([2], [b"\\Seen"])
    assert b"\\Seen" not in one.get_flags([2])[2], one.get_flags([2])
    one.copy([1], "Entwürfe/2026")
    one.move([2, 3], "Entwürfe/2026")
    assert one.folder_status("Entwürfe/2026", ["MESSAGES", "UIDNEXT"]) == {b"MESSAGES": 3, b"UIDNEXT": 4}
    one.delete_messages([4])
    one.uid_expunge([4])
    assert one.search() == [1, 5]
    root, quotas = one.get_quota_root("INBOX")
    assert root.mailbox in ("INBOX", b"INBOX") and all(quota.usage >= 0 for quota in quotas), (root, quotas)
    assert one.getacl("INBOX"), "the owner at least"

    # IDLE hears what another session does.
    def put() -> None:
        with connect() as other:
            other.append("INBOX", letter(6))

    one.idle()
    putting = threading.Thread(target=put)
    putting.start()
    heard: list = []
    while (3, b"EXISTS") not in heard:
        news = one.idle_check(timeout=20)
        assert news, heard
        heard += news
    putting.join()
    one.idle_done()
    one.rename_folder("Entwürfe/2026", "Archiviert")
    try:
        one.select_folder("Entwürfe/2026")
        raise AssertionError("a mailbox that was renamed is still there")
    except IMAPClientError:
        pass
    assert one.select_folder("Archiviert", readonly=True)[b"EXISTS"] == 3
    one.unselect_folder()
    one.delete_folder("Archiviert")
print("ok")
