#!/usr/bin/env python3
"""Makes envelopes.json: envelopes of the REST interface, by Python's `cryptography`.

    pip install cryptography && python3 make.py > envelopes.json

Private keys and IVs are fixed, so that the same file comes out each time.
"""
import hashlib
import json

try:  # where newer releases keep what they call weak
    from cryptography.hazmat.decrepit.ciphers.modes import CFB
except ImportError:
    from cryptography.hazmat.primitives.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES

# The number in full (32 bytes, big-endian), as a key file has it.
KEYS = {
    "no leading zero": bytes(range(1, 33)),
    "one leading zero byte": bytes([0]) + bytes(range(101, 132)),
    "three leading zero bytes": bytes(3) + bytes(range(200, 229)),
    "a zero nibble, which is no zero byte": bytes([0x0A]) + bytes(range(31)),
    "a zero byte inside and one at the end": bytes([7, 0]) + bytes(range(60, 89)) + bytes([0]),
    "the number 1": bytes(31) + bytes([1]),
}
TEXTS = [
    "{}",
    '"34"',
    "",
    "0123456789abcdef",
    '{"error":"rpc error: code = Unknown desc = \u043d\u0435 \u0437\u043d\u0430\u044e"}',
    "x" * 1000,
]


def main():
    vectors = []
    for name, private in KEYS.items():
        number = int.from_bytes(private, "big")
        # What Go's big.Int.Bytes() gives.
        stripped = number.to_bytes((number.bit_length() + 7) // 8, "big")
        key = hashlib.sha256(stripped).digest()
        for index, text in enumerate(TEXTS):
            iv = hashlib.sha256(f"{name} {index}".encode()).digest()[:16]
            encryptor = Cipher(AES(key), CFB(iv)).encryptor()
            body = encryptor.update(text.encode()) + encryptor.finalize()
            vectors.append(
                {
                    "name": name,
                    "private": private.hex(),
                    "iv": iv.hex(),
                    "text": text,
                    "envelope": (iv + body).hex(),
                }
            )
    print(json.dumps(vectors, indent=1))


main()
