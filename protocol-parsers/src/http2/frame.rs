//! Frame headers (RFC 9113 section 4.1), and which of them are plausible.

/// What a client sends first (section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame header.
pub(super) const HEAD: usize = 9;

/// The longest frame while no peer allowed more (section 6.5.2); few ever do.
const USUAL_MAX: u32 = 1 << 14;

/// Frame types (section 6).
pub(super) mod kind {
    pub(in crate::http2) const DATA: u8 = 0;
    pub(in crate::http2) const HEADERS: u8 = 1;
    pub(in crate::http2) const PRIORITY: u8 = 2;
    pub(in crate::http2) const RST_STREAM: u8 = 3;
    pub(in crate::http2) const SETTINGS: u8 = 4;
    pub(in crate::http2) const PUSH_PROMISE: u8 = 5;
    pub(in crate::http2) const PING: u8 = 6;
    pub(in crate::http2) const GOAWAY: u8 = 7;
    pub(in crate::http2) const WINDOW_UPDATE: u8 = 8;
    pub(in crate::http2) const CONTINUATION: u8 = 9;
}

/// Flags.
pub(super) mod flag {
    pub(in crate::http2) const END_STREAM: u8 = 0x1;
    pub(in crate::http2) const ACK: u8 = 0x1;
    pub(in crate::http2) const END_HEADERS: u8 = 0x4;
    pub(in crate::http2) const PADDED: u8 = 0x8;
    pub(in crate::http2) const PRIORITY: u8 = 0x20;
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) len: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    /// Of the first [`HEAD`] bytes.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, s0, s1, s2, s3] = bytes.first_chunk::<HEAD>()?;
        // The highest bit of the stream is reserved: "MUST be ignored when receiving".
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        Some(Self { len: u32::from_be_bytes([0, a, b, c]), kind, flags, stream })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether length and stream are what its type demands; anything goes for types that are not known.
    pub(super) fn is_valid(&self) -> bool {
        let Self { len, kind, flags, stream } = *self;
        let padding = u32::from(flags & flag::PADDED != 0);
        match kind {
            kind::DATA => stream != 0 && len >= padding,
            kind::HEADERS => stream != 0 && len >= padding + if self.has(flag::PRIORITY) { 5 } else { 0 },
            kind::PRIORITY => stream != 0 && len == 5,
            kind::RST_STREAM => stream != 0 && len == 4,
            kind::SETTINGS => stream == 0 && len % 6 == 0 && (flags & flag::ACK == 0 || len == 0),
            kind::PUSH_PROMISE => stream != 0 && len >= 4 + padding,
            kind::PING => stream == 0 && len == 8,
            kind::GOAWAY => stream == 0 && len >= 8,
            kind::WINDOW_UPDATE => len == 4,
            kind::CONTINUATION => stream != 0,
            _ => true,
        }
    }

    /// Whether bytes that may be anything are likely to be this header: as senders that follow the rules write it.
    pub(super) fn is_plausible(&self, bytes: &[u8]) -> bool {
        let Self { len, kind, flags, stream } = *self;
        let mask = match kind {
            kind::DATA => flag::END_STREAM | flag::PADDED,
            kind::HEADERS => flag::END_STREAM | flag::END_HEADERS | flag::PADDED | flag::PRIORITY,
            kind::SETTINGS | kind::PING => flag::ACK,
            kind::PUSH_PROMISE => flag::END_HEADERS | flag::PADDED,
            kind::CONTINUATION => flag::END_HEADERS,
            kind::PRIORITY | kind::RST_STREAM | kind::GOAWAY | kind::WINDOW_UPDATE => 0,
            _ => return false,
        };
        let long_enough = match kind {
            kind::HEADERS | kind::CONTINUATION => (1..=USUAL_MAX).contains(&len),
            // Empty and not the last: nobody sends such a frame.
            kind::DATA => len <= USUAL_MAX && (len > 0 || self.has(flag::END_STREAM)),
            _ => len <= USUAL_MAX,
        };
        let reserved = bytes.get(5).is_some_and(|byte| byte & 0x80 != 0);
        // Streams are the client's; pushes are dead.
        let stream_fits = stream % 2 == 1 || matches!(kind, kind::PRIORITY) || stream == 0;
        flags & !mask == 0 && long_enough && !reserved && stream_fits && self.is_valid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(bytes: [u8; HEAD]) -> Head {
        Head::read(&bytes).unwrap()
    }

    #[test]
    fn a_header_is_read() {
        let bytes = [0, 1, 2, 1, 5, 0x80, 0, 0, 3];
        assert_eq!(head(bytes), Head { len: 258, kind: kind::HEADERS, flags: 5, stream: 3 });
        assert_eq!(Head::read(&bytes[..8]), None);
    }

    #[test]
    fn each_type_has_its_rules() {
        for (valid, bytes) in [
            (true, [0, 0, 0, 0, 1, 0, 0, 0, 1]),
            (false, [0, 0, 0, 0, 1, 0, 0, 0, 0]),
            (false, [0, 0, 0, 0, 9, 0, 0, 0, 1]),
            (true, [0, 0, 5, 2, 0, 0, 0, 0, 2]),
            (false, [0, 0, 6, 2, 0, 0, 0, 0, 2]),
            (true, [0, 0, 4, 3, 0, 0, 0, 0, 1]),
            (true, [0, 0, 12, 4, 0, 0, 0, 0, 0]),
            (false, [0, 0, 12, 4, 1, 0, 0, 0, 0]),
            (false, [0, 0, 12, 4, 0, 0, 0, 0, 1]),
            (false, [0, 0, 3, 5, 4, 0, 0, 0, 1]),
            (true, [0, 0, 8, 6, 1, 0, 0, 0, 0]),
            (true, [0, 0, 8, 7, 0, 0, 0, 0, 0]),
            (false, [0, 0, 7, 7, 0, 0, 0, 0, 0]),
            (true, [0, 0, 4, 8, 0, 0, 0, 0, 0]),
            (true, [255, 0, 4, 77, 255, 0, 0, 0, 0]),
        ] {
            assert_eq!(head(bytes).is_valid(), valid, "{bytes:?}");
        }
    }

    #[test]
    fn zeros_and_unknown_types_are_not_plausible() {
        for bytes in [[0; HEAD], [0, 0, 4, 10, 0, 0, 0, 0, 1], [0, 0, 4, 0, 4, 0, 0, 0, 1], [0, 0, 4, 0, 0, 0, 0, 0, 2]]
        {
            assert!(!head(bytes).is_plausible(&bytes), "{bytes:?}");
        }
        let bytes = [0, 0, 4, 0, 0, 0x80, 0, 0, 1];
        assert!(!head(bytes).is_plausible(&bytes));
        assert!(head([0, 0, 4, 0, 0, 0, 0, 0, 1]).is_plausible(&[0, 0, 4, 0, 0, 0, 0, 0, 1]));
    }
}
