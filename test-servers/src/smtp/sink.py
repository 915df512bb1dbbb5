"""An SMTP server that takes mails over STARTTLS from whoever logs in, and writes each into a file.

Arguments: folder, port, certificate, private key, user, password.
"""

import asyncio
import email
import email.policy
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

folder, port, certificate, key, user, password = sys.argv[1:7]
mails = os.path.join(folder, "mails")
os.makedirs(mails, exist_ok=True)


def authenticate(server, session, envelope, mechanism, data):
    right = data.login == user.encode() and data.password == password.encode()
    return AuthResult(success=right)


class Sink:
    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        number = len(os.listdir(mails))
        text = message.get_content()
        received = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "subject": message["subject"],
            "text": text,
            "encrypted": session.ssl is not None,
            "login": session.authenticated,
        }
        draft = os.path.join(folder, "draft")
        with open(draft, "w", encoding="utf-8") as file:
            json.dump(received, file)
        os.rename(draft, os.path.join(mails, f"{number:06}.json"))
        return "250 taken"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 fine"


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def server():
        return SMTP(
            Sink(),
            hostname="mail.test",
            tls_context=context,
            require_starttls=True,
            authenticator=authenticate,
            auth_required=True,
        )

    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", int(port))
    print("takes mails", flush=True)
    async with listener:
        await listener.serve_forever()


asyncio.run(main())
