"""FFmpeg's WHIP muxer publishing the moving box, as a program of its own: it holds the interpreter while it connects.

`python -m tests.stream.rtc.ffmpeg_publisher URL FOLDER`: until its standard input is closed.
"""

from __future__ import annotations

import datetime as dt
import sys
import threading
from pathlib import Path

import av
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.stream.rtc.house import MovingBox


def certificate(folder: Path) -> dict[str, str]:
    """A P-256 certificate: the one FFmpeg would make by itself is refused in the DTLS handshake."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "whip")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    files = {"cert_file": folder / "whip.crt", "key_file": folder / "whip.key"}
    files["cert_file"].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files["key_file"].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {name: str(path) for name, path in files.items()}


def publish(url: str, options: dict[str, str], stop: threading.Event) -> None:
    """The moving box, 15 pictures per second, until told to stop. Blocks."""
    box = MovingBox()
    with av.open(url, "w", format="whip", options=options) as output:
        stream = output.add_stream("libx264", rate=15)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.max_b_frames = box.width, box.height, "yuv420p", 0
        stream.options = {"profile": "baseline", "preset": "ultrafast", "tune": "zerolatency", "g": "15"}
        index = 0
        while not stop.wait(1 / 15):
            picture = av.VideoFrame.from_ndarray(box.picture(index), format="rgb24")
            picture.pts = index
            output.mux(stream.encode(picture))
            index += 1


if __name__ == "__main__":
    stopped = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        stopped.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    publish(sys.argv[1], certificate(Path(sys.argv[2])), stopped)
