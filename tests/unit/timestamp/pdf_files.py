"""PDF files made by hand, byte for byte: with one attached file as a certificate has it, or not.

Each of the latter shows some reader of PDF another file than the one that is found first, or none.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

HEAD: Final = b"%PDF-1.7\n%\x80\x80\x80\x80\n"
FILE: Final = b"7 0 obj"
LISTED: Final = b"6 0 obj\n<</Type/Filespec/F(p)/UF(p)/EF<</F 7 0 R/UF 7 0 R>>>>\nendobj\n"
TAIL: Final = b"trailer\n<</Size 8/Root 1 0 R>>\nstartxref\n9\n%%EOF"


def stream(
    content: bytes, head: bytes = b"", *, number: int = 7, length: int | None = None
) -> bytes:
    """Return an object that is a stream."""
    size = len(content) if length is None else length
    return b"%d 0 obj\n<</Length %d%b>>\nstream\n%b\nendstream\nendobj\n" % (
        number,
        size,
        head,
        content,
    )


def pointed(content: bytes, where: bytes = b"9 0 R") -> bytes:
    """Return the attached file as a stream that says its length by an object of its own."""
    length = b"/Length %d" % len(content)
    return embedded(content).replace(length, b"/Length " + where)


def embedded(content: bytes, head: bytes = b"", *, number: int = 7) -> bytes:
    """Return a stream that says that it is an attached file."""
    return stream(content, b"/Type/EmbeddedFile" + head, number=number)


def number(of: int, value: int) -> bytes:
    """Return an object that is a whole number."""
    return b"%d 0 obj\n%d\nendobj\n" % (of, value)


def packed(content: bytes, head: bytes = b"/Type/ObjStm/N 1/First 4") -> bytes:
    """Return an object stream."""
    return stream(zlib.compress(content), b"/Filter/FlateDecode" + head, number=30)


def file_of(*objects: bytes, tail: bytes = TAIL) -> bytes:
    return HEAD + b"".join(objects) + tail


def sound(content: bytes) -> dict[str, bytes]:
    """Return files with this one file attached."""
    deflated = zlib.compress(content)
    plain = LISTED + embedded(content)
    return {
        "plain": file_of(plain),
        "deflated": file_of(LISTED, embedded(deflated, b"/Filter/FlateDecode")),
        "deflated, in a list": file_of(LISTED, embedded(deflated, b"/Filter[/Fl#61teDecode]")),
        "untyped": file_of(LISTED, stream(content)),
        "typed only by another spelling": file_of(
            LISTED.replace(b"/EF", b"/#45#46"), stream(content, b"/T#79pe/Embe#64dedFile")
        ),
        "spaced out, and commented": file_of(
            LISTED.replace(b"/EF<<", b"/EF %<</F 9 0 R>>\r<< %\n"), embedded(content)
        ),
        "a string that looks like one": file_of(plain, b"8 0 obj (/EF<</F 9 0 R>>\\)) endobj\n"),
        "a packed object": file_of(plain, packed(b"8 0 <</Title(x)>>")),
        "a profile": file_of(plain, packed(bytes(range(256)), b"/N 3/Range[0 1]")),
        "its length behind it": file_of(LISTED, pointed(content), number(9, len(content))),
        "its length before it": file_of(number(9, len(content)), LISTED, pointed(content)),
        "revised": file_of(plain, TAIL, b"1 0 obj<</Type/Catalog>>endobj\n1 0 obj 4 endobj\n"),
    }


def hostile(content: bytes, other: bytes) -> Mapping[str, tuple[bytes, str]]:
    """Return files that attach something else too, or nothing that is found, and why not."""
    plain = LISTED + embedded(content)
    listed = LISTED.replace(b"6 0 obj", b"9 0 obj").replace(b" 7 0 R", b" 8 0 R")
    untyped = stream(other, number=8)
    deflated = zlib.compress(content)
    hidden = listed + untyped
    return {
        "none": (file_of(), "got 0"),
        "its length nowhere": (file_of(LISTED, pointed(content)), "how long"),
        "its length no number": (
            file_of(LISTED, pointed(content), b"9 0 obj\n(1)\nendobj\n"), "how long"
        ),
        "its length of another generation": (
            file_of(LISTED, pointed(content, b"9 1 R"), number(9, len(content))), "how long"
        ),
        "its length said twice": (
            file_of(LISTED, pointed(content), number(9, 1), number(9, len(content))), "how long"
        ),
        "its length said in a comment": (
            file_of(
                LISTED,
                pointed(content),
                b"%%9 0 obj %d endobj\n" % len(content),
                number(9, 1),
            ),
            "cannot be read from",
        ),
        "its length said in a string": (
            file_of(LISTED, pointed(content), b"8 0 obj(%b)endobj\n" % number(9, len(content))),
            "where none can",
        ),
        "typed, but not listed": (file_of(embedded(content)), "is not listed"),
        "two typed": (file_of(plain, embedded(other, number=8)), "got 2"),
        "two listed": (file_of(plain, hidden), "got 2"),
        "two listed, one spelled otherwise": (
            file_of(plain, hidden.replace(b"/EF", b"/E#46")), "got 2"
        ),
        "one listed in an annotation": (
            file_of(plain, b"9 0 obj<</FS<</EF<</F 8 0 R>>>>>>endobj\n", untyped), "got 2"
        ),
        "one listed in a list": (
            file_of(plain, b"9 0 obj[[<</EF<</F 8 0 R>>>>]]endobj\n", untyped), "got 2"
        ),
        "one listed in the head of a stream": (
            file_of(plain, stream(b"", b"/X<</EF<</F 8 0 R>>>>", number=9), untyped), "got 2"
        ),
        "one listed in a trailer": (
            file_of(plain, untyped, tail=b"trailer<</X<</EF<</F 8 0 R>>>>>>"), "got 2"
        ),
        "listed another than typed": (
            file_of(LISTED.replace(b" 7 0 R", b" 8 0 R"), embedded(content), untyped), "got 2"
        ),
        "two by one specification": (
            file_of(LISTED.replace(b"UF 7 0 R", b"UF 8 0 R"), embedded(content), untyped), "several"
        ),
        "by an indirect list": (
            file_of(b"6 0 obj<</EF 5 0 R>>endobj 5 0 obj<</F 7 0 R>>endobj\n", embedded(content)),
            "not listed as",
        ),
        "related files": (
            file_of(plain, b"9 0 obj<</RF<</F[(x) 8 0 R]>>>>endobj\n", untyped), "related"
        ),
        "the file twice": (file_of(plain, stream(other)), "not there once"),
        "the file of another generation": (
            file_of(LISTED.replace(b" 7 0 R", b" 7 1 R"), embedded(content)), "not there once"
        ),
        "the file is no stream": (file_of(LISTED, b"7 0 obj<<>>endobj\n"), "not there once"),
        "the file is elsewhere": (file_of(LISTED, embedded(content, b"/F(x)")), "otherwise"),
        "the file is encoded": (
            file_of(LISTED, embedded(content.hex().encode(), b"/Filter/ASCIIHexDecode")),
            "otherwise",
        ),
        "the file has a predictor": (
            file_of(LISTED, embedded(content, b"/DecodeParms<</Predictor 12>>")),
            "otherwise",
        ),
        "the file is cut short": (
            file_of(LISTED, embedded(deflated[:-9], b"/Filter/FlateDecode")), "inflate"
        ),
        "the file is damaged": (
            file_of(LISTED, embedded(b"no zlib", b"/Filter/FlateDecode")), "inflate"
        ),
        "packed: one listed": (
            file_of(plain, packed(b"9 0 <</EF<</F 8 0 R>>>>"), untyped), "within packed"
        ),
        "packed: one spelled otherwise": (
            file_of(plain, packed(b"9 0 <</#45F<</F 8 0 R>>>>", b"/N 1")), "within packed"
        ),
        "packed: all of it": (
            file_of(packed(b"6 0 <</EF<</F 7 0 R>>>>"), stream(content)), "within packed"
        ),
        "packed otherwise": (
            file_of(plain, packed(b"<</EF 1>>", b"/N 1/First 4/DecodeParms<</Predictor 12>>")),
            "otherwise",
        ),
        "packed too much": (file_of(plain, packed(bytes(1 << 23))), "of packed objects"),
        "encrypted": (file_of(plain, tail=b"trailer<</Encrypt 5 0 R>>"), "encrypted"),
        "within a stream": (
            file_of(plain, stream(hidden, number=30)), "could be read as objects"
        ),
        "within a stream, commented": (
            file_of(plain, stream(b"8%\n0%\nobj<</EF 1>>", number=30)), "could be read as objects"
        ),
        "within a stream, written close": (
            file_of(plain, stream(b"x 8 0obj<</EF 1>>", number=30)), "could be read as objects"
        ),
        "behind the end of a stream": (
            file_of(plain, stream(b"x\nendstream<</EF 1>>", number=30)), "could be read as objects"
        ),
        "within a string": (
            file_of(plain, b"5 0 obj(\n8 0 obj<</EF 1>>endobj\n)endobj\n"), "where none can be"
        ),
        "within a comment": (file_of(plain, b"%\r% 8 0 obj<</EF 1>>endobj\n"), "where none can be"),
        "a stream of unknown length": (
            file_of(plain, b"8 0 obj<</Length 9 0 R>>stream\nx\nendstream endobj"), "how long"
        ),
        "a stream longer than the file": (
            file_of(plain, stream(b"", number=8, length=10**6)), "how long"
        ),
        "a stream of negative length": (
            file_of(plain, stream(b"", number=8, length=-1)), "how long"
        ),
        "a stream shorter than it says": (
            file_of(plain, stream(b"abc", number=8, length=2)), "cannot be read"
        ),
        "a stream begun otherwise": (
            file_of(plain, b"8 0 obj<</Length 1>>stream x\nendstream endobj\n"), "cannot be read"
        ),
        "a name twice": (file_of(plain, b"8 0 obj<</A 1/#41 2>>endobj\n"), "twice"),
        "an end in a string": (file_of(plain, b"8 0 obj(((\\)))"), "cannot be read"),
        "something else": (file_of(plain, b"x"), "cannot be read"),
        "nested deep": (file_of(plain, b"8 0 obj" + b"[" * 999), "nested"),
    }  # fmt: skip


def slow(size: int) -> dict[str, bytes]:
    """Return files of about this size, each to keep a reader busy in its own way."""
    return {
        name: HEAD + before + piece * ((size - len(before)) // len(piece))
        for name, before, piece in (
            ("heads", b"", b"<</Length 1/Type/EmbeddedFile"),
            ("objects", b"", b"1 0 obj<<>>endobj "),
            ("streams", b"", b"1 0 obj<</Length 0>>stream\n\nendstream endobj\n"),
            ("lists", b"1 0 obj[", b"[]"),
            ("names", b"1 0 obj<<", b"/"),
            ("numbers", b"1 0 obj[", b"1 "),
            ("brackets", b"1 0 obj(", b"("),
            ("backslashes", b"1 0 obj(", b"\\)"),
            ("comments", b"", b"%\n"),
            ("ends", b"", b"%%EOF"),
            ("spaces", b"", b"\n"),
            ("indexes", b"", b"xref startxref 0 "),
            ("nests", b"1 0 obj", b"[[[[[[[[" + b"]]]]]]]]"),
            ("digits in a stream", b"1 0 obj<</Length 6000000>>stream\n", b" 1"),
            ("line ends in a stream", b"1 0 obj<</Length 6000000>>stream\n", b"\n "),
        )
    }
