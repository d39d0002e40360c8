"""Leaving out the frames of an AV1 stream that no other frame refers to (AV1 specification, 5.3 to 5.9).

FFmpeg's AV1 decoder cannot be told packet by packet to do so, hence frames are cut out of the packets. Only a
frame that is shown and refreshes no reference goes: decoding it changes nothing for any other. Wherever a
header is not as plain as encoders usually write it, everything stays.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Av1Trimmer"]

_SEQUENCE_HEADER, _TEMPORAL_DELIMITER, _FRAME_HEADER, _METADATA, _FRAME, _PADDING = 1, 2, 3, 5, 6, 15
_HARMLESS = frozenset({_TEMPORAL_DELIMITER, _METADATA, _PADDING})
_KEY_FRAME, _INTRA_ONLY_FRAME, _SWITCH_FRAME = 0, 2, 3
_IN_EVERY_FRAME = 2  # SELECT_SCREEN_CONTENT_TOOLS and SELECT_INTEGER_MV
_AV1C_BYTES = 4  # of the av1C box before its units
_HEADER_BYTES = 16  # more than a frame's header takes up to refresh_frame_flags


class _Unusual(Exception):
    """Something that these few lines do not read."""


class _Bits:
    """Numbers of so many bits each, highest bit first. Raises _Unusual at the end of the data."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, width: int = 1) -> int:
        self._left -= width
        if self._left < 0:
            raise _Unusual
        return (self._value >> self._left) & ((1 << width) - 1)


class Av1Trimmer:
    """Cuts unreferenced frames out of the packets of one stream.

    configuration: the stream's ``av1C`` box, FFmpeg's extradata. ``learn`` overrides it.
    """

    def __init__(self, configuration: bytes | None) -> None:
        self._sequence: bytes | None = None  # the sequence header in force, None if it is not understood
        self._screen_content = self._integer_mv = self._order_hint_bits = 0
        self.learn((configuration or b"")[_AV1C_BYTES:])

    def learn(self, packet: bytes) -> None:
        """Take over the sequence header of a packet that begins with one, as keyframes do."""
        try:
            for kind, unit, start in _units(packet):
                if kind == _SEQUENCE_HEADER and unit != self._sequence:
                    self._sequence = None
                    self._read_sequence(_Bits(unit[start:]))
                    self._sequence = unit
        except _Unusual:
            self._sequence = None

    def trim(self, packet: bytes) -> bytes:
        """The packet without shown frames that nothing refers to: itself where there are none, or b""."""
        if self._sequence is None:
            return packet
        kept: list[bytes] = []
        frames = 0
        try:
            for kind, unit, start in _units(packet):
                if kind == _FRAME:
                    if self._is_unreferenced(_Bits(unit[start : start + _HEADER_BYTES])):
                        continue
                elif kind == _FRAME_HEADER:
                    if not _Bits(unit[start:]).take():  # a frame in pieces, not an old one shown
                        return packet
                elif kind not in _HARMLESS:
                    return packet
                frames += kind not in _HARMLESS
                kept.append(unit)
        except _Unusual:
            return packet
        return b"".join(kept) if frames else b""

    def _read_sequence(self, bits: _Bits) -> None:
        """sequence_header_obu(), up to what a frame's header depends on."""
        bits.take(3 + 1)  # profile, still picture
        if bits.take() or bits.take():  # reduced header, timing information
            raise _Unusual
        display_delay = bits.take()
        if bits.take(5):  # several operating points
            raise _Unusual
        bits.take(12)
        if bits.take(5) > 7:  # high levels have a tier
            bits.take()
        if display_delay and bits.take():
            bits.take(4)
        width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
        bits.take(width_bits + height_bits)
        if bits.take():  # frame numbers
            raise _Unusual
        bits.take(3)  # superblock size, filter intra, intra edge filter
        bits.take(4)  # inter-intra and masked compounds, warped motion, dual filter
        ordered = bits.take()
        if ordered:
            bits.take(2)  # joint compounds, motion vectors of references
        self._screen_content = _IN_EVERY_FRAME if bits.take() else bits.take()
        self._integer_mv = _IN_EVERY_FRAME
        if self._screen_content and not bits.take():
            self._integer_mv = bits.take()
        self._order_hint_bits = bits.take(3) + 1 if ordered else 0

    def _is_unreferenced(self, bits: _Bits) -> bool:
        """uncompressed_header(), up to refresh_frame_flags."""
        if bits.take():  # shows an old frame: not in this kind of unit
            raise _Unusual
        kind, shown = bits.take(2), bits.take()
        if not shown or kind in (_KEY_FRAME, _SWITCH_FRAME):
            return False
        error_resilient = bits.take()
        bits.take()  # disable_cdf_update
        screen_content = bits.take() if self._screen_content == _IN_EVERY_FRAME else self._screen_content
        if screen_content and self._integer_mv == _IN_EVERY_FRAME:
            bits.take()
        bits.take(1 + self._order_hint_bits)  # frame_size_override_flag, order_hint
        if kind != _INTRA_ONLY_FRAME and not error_resilient:
            bits.take(3)  # primary_ref_frame
        return bits.take(8) == 0


def _units(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Each open bitstream unit: its type, its bytes, and where among them its payload starts."""
    position = 0
    while position < len(data):
        start, header = position, data[position]
        if header & 0x81 or not header & 0x02:  # reserved bits; no size of its own
            raise _Unusual
        position += 2 if header & 0x04 else 1
        size = shift = 0
        while True:  # leb128
            if position >= len(data) or shift > 28:
                raise _Unusual
            byte = data[position]
            size |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                break
        payload, position = position - start, position + size
        if position > len(data):
            raise _Unusual
        yield header >> 3 & 15, data[start:position], payload
