//! Header compression (RFC 7541), tolerant: what was not seen is unknown, and everything else is exact.
//!
//! In: one direction's header blocks in their order, and losses. Out: the fields of interest. A block that names an entry
//! from before the connection was joined gives [`Field::Unknown`] and goes on; its insertions count all the same.
//!
//! `SETTINGS_HEADER_TABLE_SIZE` need not be read: it bounds what the encoder may choose, and the encoder announces what it
//! chose at the start of a block (section 4.2).

#[cfg(test)]
pub(super) mod encoding;
mod field;
mod huffman;
mod table;
#[cfg(test)]
mod tests;

pub(super) use field::Field;
pub(super) use table::Packed;
use table::{STATIC, Table, fixed};

/// The bytes are no header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// One direction's decoder.
#[derive(Debug)]
pub(super) struct Decoder {
    table: Table,
    scratch: Vec<u8>,
}

impl Decoder {
    /// Of a connection seen from its start.
    pub(super) fn new() -> Self {
        Self { table: Table::new(), scratch: Vec::new() }
    }

    /// As it was.
    pub(super) fn unpack(table: &Packed) -> Self {
        Self { table: table.unpack(), scratch: Vec::new() }
    }

    /// What stays of it between blocks.
    pub(super) fn pack(&self) -> Packed {
        self.table.pack()
    }

    /// Bytes of this direction were lost.
    pub(super) fn forget(&mut self) {
        self.table.forget();
    }

    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        self.table.heap() + self.scratch.capacity()
    }

    /// Decodes a whole block; `see` gets its fields of interest in their order, a value `None` if it is not known.
    pub(super) fn block(&mut self, block: &[u8], see: impl FnMut(Field, Option<&[u8]>)) -> Result<(), Broken> {
        let decoded = self.fields(Input(block), see);
        if decoded.is_err() {
            // What it went on to insert was not seen.
            self.forget();
        }
        decoded
    }

    fn fields(&mut self, mut input: Input<'_>, mut see: impl FnMut(Field, Option<&[u8]>)) -> Result<(), Broken> {
        while let Some(first) = input.0.first() {
            match first {
                // Section 6.1, an indexed field.
                0x80.. => {
                    let index = input.integer(7)?;
                    match (index.checked_sub(STATIC + 1), fixed(index)) {
                        (Some(index), _) => match self.table.get(index) {
                            Some((Field::Other, ..)) => {}
                            Some((field, _, value)) => see(field, value),
                            None => see(Field::Unknown, None),
                        },
                        (None, Some((Field::Other, ..))) => {}
                        (None, Some((field, _, value))) => see(field, Some(value)),
                        // "The index value of 0 is not used."
                        (None, None) => return Err(Broken),
                    }
                }
                // Section 6.2.1, a literal field that enters the table.
                0x40..=0x7f => {
                    let (field, name_len) = self.name(&mut input, 6)?;
                    let value = input.string()?;
                    match (field.is_kept(), value) {
                        (true, Literal::Plain(value)) => {
                            see(field, Some(value));
                            self.table.insert(field, name_len, Some(value), value.len());
                        }
                        (true, Literal::Huffman(_)) => {
                            value.decode(&mut self.scratch)?;
                            see(field, Some(&self.scratch));
                            self.table.insert(field, name_len, Some(&self.scratch), self.scratch.len());
                        }
                        (false, value) => {
                            if field == Field::Unknown {
                                see(field, None);
                            }
                            self.table.insert(field, name_len, None, value.len()?);
                        }
                    }
                }
                // Section 6.3, the size of the table.
                0x20..=0x3f => {
                    let size = input.integer(5)?;
                    self.table.resize(size);
                }
                // Sections 6.2.2 and 6.2.3, a literal field that does not enter the table.
                0x00..=0x1f => {
                    let (field, _) = self.name(&mut input, 4)?;
                    match (field.is_kept(), input.string()?) {
                        (true, Literal::Plain(value)) => see(field, Some(value)),
                        (true, value @ Literal::Huffman(_)) => {
                            value.decode(&mut self.scratch)?;
                            see(field, Some(&self.scratch));
                        }
                        (false, _) if field == Field::Unknown => see(field, None),
                        (false, _) => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// The name of a literal field, and its length (0 if it is not known).
    fn name(&mut self, input: &mut Input<'_>, prefix: u32) -> Result<(Field, usize), Broken> {
        let index = input.integer(prefix)?;
        if let Some(index) = index.checked_sub(STATIC + 1) {
            return Ok(self.table.get(index).map_or((Field::Unknown, 0), |(field, len, _)| (field, len)));
        }
        if let Some((field, len, _)) = fixed(index) {
            return Ok((field, len));
        }
        match input.string()? {
            Literal::Plain(name) => Ok((Field::named(name), name.len())),
            name @ Literal::Huffman(_) => {
                name.decode(&mut self.scratch)?;
                Ok((Field::named(&self.scratch), self.scratch.len()))
            }
        }
    }
}

/// A string literal (section 5.2).
#[derive(Clone, Copy)]
enum Literal<'a> {
    Huffman(&'a [u8]),
    Plain(&'a [u8]),
}

impl Literal<'_> {
    fn decode(self, out: &mut Vec<u8>) -> Result<(), Broken> {
        out.clear();
        match self {
            Self::Plain(bytes) => out.extend_from_slice(bytes),
            Self::Huffman(bytes) => {
                // The shortest code has 5 bits.
                out.reserve(bytes.len() * 8 / 5 + 1);
                huffman::decode(bytes, |byte| out.push(byte))?;
            }
        }
        Ok(())
    }

    fn len(self) -> Result<usize, Broken> {
        match self {
            Self::Plain(bytes) => Ok(bytes.len()),
            Self::Huffman(bytes) => huffman::decoded_len(bytes),
        }
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, Broken> {
        let (first, rest) = self.0.split_first().ok_or(Broken)?;
        self.0 = rest;
        Ok(*first)
    }

    /// An integer with a prefix of `bits` bits (section 5.1). "Integer encodings that exceed implementation limits MUST be
    /// treated as decoding errors": more than 4 further bytes.
    fn integer(&mut self, bits: u32) -> Result<usize, Broken> {
        let most = (1_usize << bits) - 1;
        let mut value = usize::from(self.byte()?) & most;
        if value < most {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Broken)
    }

    fn string(&mut self) -> Result<Literal<'a>, Broken> {
        let huffman = self.0.first().is_some_and(|first| first & 0x80 != 0);
        let len = self.integer(7)?;
        let (string, rest) = self.0.split_at_checked(len).ok_or(Broken)?;
        self.0 = rest;
        Ok(if huffman { Literal::Huffman(string) } else { Literal::Plain(string) })
    }
}
