//! ELF files: bytes in, functions and their code out.

use object::{
    Object, ObjectSegment, ObjectSymbol, SymbolKind, elf,
    read::elf::{ElfFile64, FileHeader},
};

/// Longest code of one function that is ever looked at; only the first instructions matter, the rest is searched for jumps
/// back to them.
const MAX_FUNCTION: u64 = 64 * 1024;

/// Code looked at when the function's size is not known (no symbol).
const UNKNOWN_FUNCTION: u64 = 4 * 1024;

/// Bytes of symbol names read in one search. A real table has less; a forged one could point every symbol at the start of one
/// endless name.
const MAX_NAMES: usize = 64 << 20;

/// Why a file gives no place for a probe.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a 64-bit little-endian ELF file, or a damaged one.
    #[error("not a usable ELF file")]
    Elf(#[source] object::Error),
    /// Built for another processor.
    #[error("built for ELF machine {0}, 62 (x86-64) expected")]
    Machine(u16),
    /// The function is in neither symbol table.
    #[error("no function `{0}` in its symbol tables")]
    NoFunction(&'static str),
    /// The symbol's address lies in no executable segment.
    #[error("function `{name}` at {address:#x} lies in no executable segment")]
    NoCode {
        /// The symbol.
        name: &'static str,
        /// Its value.
        address: u64,
    },
}

/// A function's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// Virtual address of its first instruction.
    pub address: u64,
    /// Where that is in the file.
    pub offset: u64,
    /// Its code (bounded; where no symbol tells the size, what follows it as well).
    pub code: &'a [u8],
}

/// A parsed executable or shared library.
#[derive(Debug)]
pub struct Image<'a> {
    file: ElfFile64<'a, object::LittleEndian>,
    data: &'a [u8],
}

impl<'a> Image<'a> {
    /// Reads the headers and tables of `data`.
    ///
    /// # Errors
    /// [`Error::Elf`] when it is no 64-bit little-endian ELF file, [`Error::Machine`] when it is not for x86-64.
    pub fn parse(data: &'a [u8]) -> Result<Self, Error> {
        let file = ElfFile64::<object::LittleEndian>::parse(data).map_err(Error::Elf)?;
        match file.elf_header().e_machine(object::LittleEndian) {
            elf::EM_X86_64 => Ok(Self { file, data }),
            other => Err(Error::Machine(other.0)),
        }
    }

    /// The function `name`, whatever its symbol version; the dynamic table goes first.
    ///
    /// # Errors
    /// [`Error::NoFunction`] or [`Error::NoCode`].
    pub fn function(&self, name: &'static str) -> Result<Function<'a>, Error> {
        let mut left = MAX_NAMES;
        let symbol = self
            .file
            .dynamic_symbols()
            .chain(self.file.symbols())
            .filter(|s| s.is_definition() && s.kind() == SymbolKind::Text)
            .map_while(|s| {
                let found = s.name_bytes().unwrap_or_default();
                left = left.checked_sub(found.len())?;
                Some((found, s))
            })
            .find_map(|(found, s)| (found == name.as_bytes()).then_some(s))
            .ok_or(Error::NoFunction(name))?;
        let address = symbol.address();
        self.function_at(address, symbol.size()).ok_or(Error::NoCode { name, address })
    }

    /// The function that begins at `address`; `size` 0 where it is not known.
    pub(crate) fn function_at(&self, address: u64, size: u64) -> Option<Function<'a>> {
        let wanted = if size == 0 { UNKNOWN_FUNCTION } else { size.min(MAX_FUNCTION) };
        self.file.segments().filter(|s| s.permissions().executable()).find_map(|segment| {
            let (start, len) = segment.file_range();
            let into = address.checked_sub(segment.address())?;
            let available = len.checked_sub(into).filter(|left| *left > 0)?;
            let offset = start.checked_add(into)?;
            let end = offset.checked_add(wanted.min(available))?;
            let code = self.data.get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)?;
            Some(Function { address, offset, code })
        })
    }
}
