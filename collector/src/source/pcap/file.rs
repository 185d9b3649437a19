//! The file formats pcap and pcapng (draft-ietf-opsawg-pcapng): from bytes to captured frames.
//!
//! In: a reader. Out: [`Frame`]s with their link type and Unix time. Both byte orders, microseconds, nanoseconds and `if_tsresol`.

use std::io::Read;

use crate::source::{Found, Input, Problem};

/// One captured frame; its bytes are in [`Frames::bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// LINKTYPE_ value.
    pub(super) link: u16,
    /// Unix time, ns.
    pub(super) time_ns: u64,
}

/// The frames of a file.
pub(super) struct Frames<R> {
    input: Input<R>,
    format: Format,
    big_endian: bool,
    block: Vec<u8>,
    /// Where the frame lies in `block`.
    frame: std::ops::Range<usize>,
}

enum Format {
    Pcap { link: u16, nanos: bool },
    Pcapng { interfaces: Vec<Interface> },
}

#[derive(Clone, Copy)]
struct Interface {
    link: u16,
    snap: u32,
    resolution: Resolution,
    /// Seconds added to every time (`if_tsoffset`).
    offset: i64,
}

/// What one unit of time is.
#[derive(Clone, Copy)]
enum Resolution {
    /// 10^-n s.
    Decimal(u8),
    /// 2^-n s.
    Binary(u8),
}

impl<R: Read> Frames<R> {
    /// Reads the header; its first four bytes were read already.
    pub(super) fn begin(input: Input<R>, magic: [u8; 4]) -> Result<Self, Problem> {
        let (format, big_endian) = match magic {
            [0xd4, 0xc3, 0xb2, 0xa1] => (Format::Pcap { link: 0, nanos: false }, false),
            [0xa1, 0xb2, 0xc3, 0xd4] => (Format::Pcap { link: 0, nanos: false }, true),
            [0x4d, 0x3c, 0xb2, 0xa1] => (Format::Pcap { link: 0, nanos: true }, false),
            [0xa1, 0xb2, 0x3c, 0x4d] => (Format::Pcap { link: 0, nanos: true }, true),
            SECTION_HEADER => (Format::Pcapng { interfaces: Vec::new() }, false),
            magic => return Err(Problem { offset: 0, found: Found::Magic { magic } }),
        };
        let mut frames = Self { input, format, big_endian, block: Vec::new(), frame: 0..0 };
        match &mut frames.format {
            Format::Pcap { link, .. } => {
                // Version, zone, accuracy, snap length, link type.
                let rest = frames.input.array::<20>("the header")?;
                let [.., a, b, c, d] = rest;
                // The upper half holds flags on the FCS.
                *link = (number([a, b, c, d], big_endian) & 0xffff) as u16;
            }
            Format::Pcapng { .. } => frames.section()?,
        }
        Ok(frames)
    }

    /// The bytes of the frame that was read last.
    pub(super) fn bytes(&self) -> &[u8] {
        self.block.get(self.frame.clone()).unwrap_or_default()
    }

    /// Reads the next frame; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Problem> {
        match &self.format {
            Format::Pcap { link, nanos } => {
                let (link, unit) = (*link, if *nanos { 1 } else { 1000 });
                let mut head = [0; 16];
                if !self.input.fill_or_end(&mut head, "a packet")? {
                    return Ok(None);
                }
                let [seconds, part, len, _] = words(head).map(|word| number(word, self.big_endian));
                self.fill_block(len, "a packet")?;
                self.frame = 0..self.block.len();
                let time_ns = u64::from(seconds) * 1_000_000_000 + u64::from(part) * unit;
                Ok(Some(Frame { link, time_ns }))
            }
            Format::Pcapng { .. } => loop {
                let mut kind = [0; 4];
                if !self.input.fill_or_end(&mut kind, "a block")? {
                    return Ok(None);
                }
                if kind == SECTION_HEADER {
                    self.section()?;
                    continue;
                }
                let start = self.input.offset;
                self.block()?;
                let found = match number(kind, self.big_endian) {
                    INTERFACE => self.interface().map(|()| None),
                    ENHANCED_PACKET => self.enhanced_packet().map(Some),
                    SIMPLE_PACKET => self.simple_packet().map(Some),
                    _ => Ok(None),
                };
                if let Some(frame) = found.map_err(|found| Problem { offset: start, found })? {
                    return Ok(Some(frame));
                }
            },
        }
    }

    /// The rest of a section header block: decides the byte order, forgets the interfaces.
    fn section(&mut self) -> Result<(), Problem> {
        let head = self.input.array::<8>("a section header")?;
        let [a, b, c, d, order @ ..] = head;
        self.big_endian = match order {
            [0x1a, 0x2b, 0x3c, 0x4d] => true,
            [0x4d, 0x3c, 0x2b, 0x1a] => false,
            other => {
                let value = number(other, true).into();
                return Err(self.input.problem(Found::Value { what: "a byte-order magic of", value }));
            }
        };
        let len = number([a, b, c, d], self.big_endian);
        // Kind, both lengths and the byte-order magic; the rest is of no use here.
        self.fill_block(len.saturating_sub(12), "a section header")?;
        self.format = Format::Pcapng { interfaces: Vec::new() };
        Ok(())
    }

    /// Reads a block behind its kind: its body comes to `block`, without the lengths.
    fn block(&mut self) -> Result<(), Problem> {
        let len = number(self.input.array("a block")?, self.big_endian);
        let Some(body) = len.checked_sub(12) else {
            return Err(self.input.problem(Found::Short { what: "a block", len: len as usize, needed: 12 }));
        };
        self.fill_block(body.saturating_add(4), "a block")?;
        self.block.truncate(body as usize);
        Ok(())
    }

    fn fill_block(&mut self, len: u32, what: &'static str) -> Result<(), Problem> {
        if len > MAX_BLOCK {
            return Err(self.input.problem(Found::Long { what, len: len.into(), limit: MAX_BLOCK.into() }));
        }
        self.block.clear();
        self.block.resize(len as usize, 0);
        self.input.fill(&mut self.block, what)
    }

    fn interface(&mut self) -> Result<(), Found> {
        let short = || Found::Short { what: "an interface description", len: self.block.len(), needed: 8 };
        let (head, mut options) = self.block.split_first_chunk::<8>().ok_or_else(short)?;
        let [a, b, _, _, c, d, e, f] = *head;
        let mut interface = Interface {
            link: half([a, b], self.big_endian),
            snap: number([c, d, e, f], self.big_endian),
            resolution: Resolution::Decimal(6),
            offset: 0,
        };
        while let Some(([a, b, c, d], rest)) = options.split_first_chunk::<4>() {
            let (code, len) = (half([*a, *b], self.big_endian), usize::from(half([*c, *d], self.big_endian)));
            match (code, rest.get(..len)) {
                (0, _) | (_, None) => break,
                (9, Some([value])) if value & 0x80 != 0 => interface.resolution = Resolution::Binary(value & 0x7f),
                (9, Some([value])) => interface.resolution = Resolution::Decimal(*value),
                (14, Some(value)) if let Ok(value) = <[u8; 8]>::try_from(value) => {
                    interface.offset =
                        if self.big_endian { i64::from_be_bytes(value) } else { i64::from_le_bytes(value) };
                }
                _ => {}
            }
            options = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        if let Format::Pcapng { interfaces } = &mut self.format {
            if interfaces.len() >= MAX_INTERFACES {
                let (len, limit) = (interfaces.len() as u64 + 1, MAX_INTERFACES as u64);
                return Err(Found::Long { what: "a list of interfaces", len, limit });
            }
            interfaces.push(interface);
        }
        Ok(())
    }

    fn enhanced_packet(&mut self) -> Result<Frame, Found> {
        let short = || Found::Short { what: "a packet block", len: self.block.len(), needed: 20 };
        let head = self.block.first_chunk::<20>().ok_or_else(short)?;
        let [index, high, low, len, _] = words(*head).map(|word| number(word, self.big_endian));
        let interface = self.described(index)?;
        let end = 20_usize.saturating_add(len as usize);
        if end > self.block.len() {
            return Err(Found::Short { what: "a packet block", len: self.block.len(), needed: end });
        }
        self.frame = 20..end;
        Ok(Frame { link: interface.link, time_ns: interface.time(u64::from(high) << 32 | u64::from(low)) })
    }

    fn simple_packet(&mut self) -> Result<Frame, Found> {
        let short = || Found::Short { what: "a packet block", len: self.block.len(), needed: 4 };
        let original = number(*self.block.first_chunk::<4>().ok_or_else(short)?, self.big_endian);
        let interface = self.described(0)?;
        let limit = if interface.snap == 0 { u32::MAX } else { interface.snap };
        let end = 4_usize.saturating_add(original.min(limit) as usize).min(self.block.len());
        self.frame = 4..end;
        // It has no time; everything happens at once.
        Ok(Frame { link: interface.link, time_ns: 0 })
    }

    fn described(&self, index: u32) -> Result<Interface, Found> {
        let interfaces = match &self.format {
            Format::Pcapng { interfaces } => interfaces.as_slice(),
            Format::Pcap { .. } => &[],
        };
        let unknown = Found::Value { what: "a packet of interface", value: index.into() };
        interfaces.get(index as usize).copied().ok_or(unknown)
    }
}

impl Interface {
    /// Units since 1970 as Unix ns.
    fn time(&self, units: u64) -> u64 {
        let units = u128::from(units);
        let nanos = match self.resolution {
            Resolution::Decimal(n) if n <= 9 => units * 10_u128.pow(9 - u32::from(n)),
            Resolution::Decimal(n) => units / 10_u128.pow((u32::from(n) - 9).min(29)),
            Resolution::Binary(n) => (units * 1_000_000_000) >> n,
        };
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        nanos.saturating_add_signed(self.offset.saturating_mul(1_000_000_000))
    }
}

fn number(bytes: [u8; 4], big_endian: bool) -> u32 {
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

fn half(bytes: [u8; 2], big_endian: bool) -> u16 {
    if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
}

fn words<const BYTES: usize, const WORDS: usize>(bytes: [u8; BYTES]) -> [[u8; 4]; WORDS] {
    const { assert!(BYTES == WORDS * 4) };
    let mut words = [[0; 4]; WORDS];
    words.as_flattened_mut().copy_from_slice(&bytes);
    words
}

/// Block kinds; the section header's reads the same in both byte orders.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const INTERFACE: u32 = 1;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// The longest block: tcpdump's largest snap length is 256 KiB; name resolution and secrets blocks may be longer.
const MAX_BLOCK: u32 = 16 << 20;
const MAX_INTERFACES: usize = 4096;
