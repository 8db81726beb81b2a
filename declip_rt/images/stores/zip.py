"""Images in a zip, read where they lie."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator

from declip_rt.errors import ImageError
from declip_rt.images.stores.archive import Archive, Content, Fault, Member, Names, Wanted, check_size, read_at

LOCAL = struct.Struct("<4s5H3L2H")  # the header in front of a member's bytes
ENCRYPTED = 0x1


class ZipMember(Member):
    """A file in a zip."""

    __slots__ = ("crc", "flags", "method", "offset", "packed", "size")
    offset: int  # of its local header
    packed: int  # bytes in the archive
    size: int
    method: int
    flags: int
    crc: int

    def read(self, most: int | None = None) -> Content:
        if self.flags & ENCRYPTED:
            raise ImageError("encrypted: unpack the zip with its password, and give the folder")
        if self.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            name = zipfile.compressor_names.get(self.method, "unknown")  # type: ignore[attr-defined]
            raise ImageError(f"packed by method {self.method} ({name}): zip it anew, by deflate or as it is (zip -0)")
        check_size(max(self.size, self.packed), most)
        with self.archive.open() as file:
            header = read_at(file, self.offset, LOCAL.size)
            if len(header) < LOCAL.size or not header.startswith(b"PK\3\4"):
                raise ImageError("damaged: the zip has no header at its place")
            *_, name, extra = LOCAL.unpack(header)
            data = read_at(file, self.offset + LOCAL.size + name + extra, self.packed)
        return Content(self._unpacked(data), self.size, self.archive.mtime_ns)

    def stamp(self) -> tuple[int | None, int]:
        return self.size, self.archive.mtime_ns

    def _unpacked(self, data: bytes) -> bytes:
        """Of a member that holds more than it says, no more than that is unpacked."""
        if self.method == zipfile.ZIP_DEFLATED:
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, self.size + 1)
            except zlib.error as error:
                raise ImageError(f"damaged: {error}") from error
        if len(data) != self.size or zlib.crc32(data) != self.crc:
            raise ImageError("damaged: its size or its checksum is another than the zip says")
        return data


def members(path: str, is_wanted: Wanted) -> Iterator[Member]:
    """The images in their order; a Fault where the zip is damaged."""
    try:
        archive = Archive.at(path)
        with zipfile.ZipFile(path) as zipped:
            found = zipped.infolist()
    except ImageError as error:
        yield Fault.of(path, error.reason)
        return
    except OSError as error:
        yield Fault.of(path, f"cannot be read: {error.strerror}")
        return
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError) as error:
        yield Fault.of(path, f"the zip is damaged or cut off ({error}): fetch or make it again")
        return
    names = Names(path)
    for info in found:
        if not info.is_dir() and not _is_link(info) and is_wanted(info.filename):
            member = ZipMember(names.give(info.filename))
            member.archive, member.offset, member.crc = archive, info.header_offset, info.CRC
            member.packed, member.size = info.compress_size, info.file_size
            member.method, member.flags = info.compress_type, info.flag_bits
            yield member


def _is_link(info: zipfile.ZipInfo) -> bool:
    return info.external_attr >> 28 == 0o12
