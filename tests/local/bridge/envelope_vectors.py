#!/usr/bin/env python3
"""Prints known answers for the envelope of a SONM Node's REST interface.

    python3 -m venv venv && venv/bin/pip install cryptography==50.0.2
    venv/bin/python envelope_vectors.py > envelope_vectors.json

Another implementation than the one that is tested: AES and its mode are those of `cryptography`.
Everything is derived from the index of the vector, so that it prints the same each time.
"""

import hashlib
import json

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

try:
    from cryptography.hazmat.decrepit.ciphers.modes import CFB
except ImportError:
    from cryptography.hazmat.primitives.ciphers.modes import CFB


def derived(name: str, index: int) -> bytes:
    return hashlib.sha256(f"{name} {index}".encode()).digest()


def vector(index: int, zeros: int, message: bytes) -> dict:
    private_key = bytes(zeros) + derived("key", index)[zeros:]
    # The first byte that is not a zero must not be one by chance.
    assert private_key[zeros] != 0
    number = int.from_bytes(private_key, "big")
    # As Go's big.Int.Bytes(): the shortest form.
    shortest = number.to_bytes((number.bit_length() + 7) // 8, "big")
    assert len(shortest) == 32 - zeros
    key = hashlib.sha256(shortest).digest()
    iv = derived("iv", index)[:16]
    encryptor = Cipher(algorithms.AES(key), CFB(iv)).encryptor()
    sealed = iv + encryptor.update(message) + encryptor.finalize()
    return {
        "private_key": private_key.hex(),
        "iv": iv.hex(),
        "message": message.hex(),
        "sealed": sealed.hex(),
    }


def main() -> None:
    messages = [
        b"",
        b"{}",
        b'"2026-01-02T03:04:05Z"',
        b"exactly 16 bytes",
        b"seventeen bytes!!",
        json.dumps({"error": "rpc error: code = Unknown desc = café"}).encode(),
        derived("long", 0) * 40 + b"end",
    ]
    vectors = [
        vector(index, zeros, message)
        for index, (zeros, message) in enumerate(
            (zeros, message) for zeros in (0, 1, 2, 5) for message in messages
        )
    ]
    print(json.dumps(vectors, indent=1))


main()
