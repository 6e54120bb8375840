// imapflow (from npm) against a running cluster.
//
// Usage: imapflow_client.mjs MODULES HOST IMAPS CA LOGIN PASSWORD, where MODULES is the directory that holds node_modules.
// Prints "ok" at its end; an assertion that fails is a failed test.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';

const [modules, host, port, authority, login, password] = process.argv.slice(2);
const { ImapFlow } = createRequire(`${modules}/`)('imapflow');

const settings = pass => ({
    host,
    port: Number(port),
    secure: true,
    auth: { user: login, pass },
    tls: { ca: fs.readFileSync(authority) },
    logger: false
});

const connect = async () => {
    const client = new ImapFlow(settings(password));
    await client.connect();
    return client;
};

const letter = number =>
    `From: ${login}\r\nTo: ${login}\r\nSubject: letter ${number}\r\nMessage-ID: <${number}@imapflow>\r\n` +
    'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n' +
    '--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n' +
    '--b\r\nContent-Type: application/octet-stream; name=a.bin\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--b--\r\n';

await assert.rejects(new ImapFlow(settings('wrong')).connect(), 'a wrong password was taken');

const one = await connect();
for (const capability of ['IDLE', 'MOVE', 'UIDPLUS', 'CONDSTORE', 'QRESYNC', 'OBJECTID', 'NOTIFY']) {
    assert.ok(one.capabilities.has(capability), capability);
}
assert.ok((await one.mailboxCreate('Entwürfe/2026')).created);
await one.mailboxSubscribe('Entwürfe/2026');
const listed = await one.list({ statusQuery: { messages: true } });
assert.equal(listed.find(entry => entry.path === 'Sent').specialUse, '\\Sent');
assert.ok(listed.find(entry => entry.path === 'Entwürfe/2026').subscribed);
for (let number = 1; number <= 5; number++) {
    const appended = await one.append('INBOX', letter(number), number % 2 ? ['\\Flagged'] : [], new Date(0));
    assert.equal(appended.uid, number);
}
let lock = await one.getMailboxLock('INBOX');
assert.equal(one.mailbox.exists, 5);
assert.deepEqual(await one.search({ flagged: true }, { uid: true }), [1, 3, 5]);
assert.deepEqual(await one.search({ subject: 'letter 4' }, { uid: true }), [4]);
const seen = [];
for await (const message of one.fetch('1:*', { uid: true, flags: true, envelope: true, bodyStructure: true, size: true, internalDate: true, threadId: true })) {
    assert.equal(message.envelope.subject, `letter ${message.uid}`);
    assert.equal(message.size, Buffer.byteLength(letter(message.uid)));
    assert.equal(message.bodyStructure.childNodes[1].type, 'application/octet-stream');
    assert.equal(message.internalDate.getTime(), 0);
    assert.ok(message.emailId && message.threadId);
    seen.push(message.uid);
}
assert.deepEqual(seen, [1, 2, 3, 4, 5]);
const { source } = await one.fetchOne('2', { source: true }, { uid: true });
assert.equal(source.toString(), letter(2));
const { content } = await one.download('2', '2', { uid: true });
const pieces = [];
for await (const piece of content) pieces.push(piece);
assert.deepEqual(Buffer.concat(pieces), Buffer.from([0, 1, 2]));
await one.messageFlagsAdd('2', ['\\Seen', '$Forwarded'], { uid: true });
assert.ok((await one.fetchOne('2', { flags: true }, { uid: true })).flags.has('$Forwarded'));
const moved = await one.messageMove('2:3', 'Entwürfe/2026', { uid: true });
assert.deepEqual([...moved.uidMap], [[2, 1], [3, 2]]);
await one.messageCopy('1', 'Entwürfe/2026', { uid: true });
await one.messageDelete('4', { uid: true });
assert.deepEqual(await one.search({ all: true }, { uid: true }), [1, 5]);
assert.equal((await one.status('Entwürfe/2026', { messages: true })).messages, 3);

// What another session puts there is heard in IDLE.
const heard = new Promise(resolve => one.on('exists', resolve));
const idle = one.idle();
const other = await connect();
await other.append('INBOX', letter(6));
await other.logout();
assert.equal((await heard).count, 3);
await one.noop();
await idle;
lock.release();
await one.mailboxRename('Entwürfe/2026', 'Archiviert');
lock = await one.getMailboxLock('Archiviert', { readOnly: true });
assert.equal(one.mailbox.exists, 3);
lock.release();
await one.mailboxClose();
await one.mailboxDelete('Archiviert');
assert.ok(!(await one.list()).some(entry => entry.path === 'Archiviert'));
await one.logout();
console.log('ok');
