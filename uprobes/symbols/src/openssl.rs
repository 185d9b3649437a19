//! The probes of OpenSSL's libssl (1.1.1 and later: those with `SSL_read_ex`).

use crate::{
    elf::{Error, Function, Image},
    place::{Arg, Fourth, Spot},
};

/// What a probe's program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// `int read(SSL *, void *, int)`: the result is the number of bytes. Entry and return.
    ReadCount,
    /// `int read(SSL *, void *, size_t, size_t *)`: the bytes are counted behind the fourth argument. Entry and return.
    ReadOut,
    /// As [`Hook::ReadCount`], for writes.
    WriteCount,
    /// As [`Hook::ReadOut`], for writes.
    WriteOut,
    /// `int handshake(SSL *)`. Entry and return.
    Handshake,
    /// `void free(SSL *)`: entry only.
    Free,
    /// `int clear(SSL *)`: the object starts anew. Entry only.
    Clear,
}

/// One function to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The library's function (of a shared callee: the first that calls it).
    pub function: &'static str,
    /// What runs there.
    pub hook: Hook,
    /// Where.
    pub spot: Spot,
}

/// What to probe in one library.
#[derive(Debug)]
pub struct Plan {
    /// The places found.
    pub probes: Vec<Probe>,
    /// What is missing, and why. Reads and writes are never here: without them there is no plan.
    pub missing: Vec<(&'static str, Error)>,
}

/// Finds the probes of the libssl whose bytes are `data`.
///
/// # Errors
/// [`Error`] when it is no x86-64 ELF file or has not the functions that move data.
pub fn plan(data: &[u8]) -> Result<Plan, Error> {
    let image = Image::parse(data)?;
    let mut probes = Vec::new();
    probes.extend(pair(&image, ("SSL_read", Hook::ReadCount), ("SSL_read_ex", Hook::ReadOut))?);
    probes.extend(pair(&image, ("SSL_write", Hook::WriteCount), ("SSL_write_ex", Hook::WriteOut))?);
    let mut missing = Vec::new();
    for (function, hook) in
        [("SSL_do_handshake", Hook::Handshake), ("SSL_free", Hook::Free), ("SSL_clear", Hook::Clear)]
    {
        match image.function(function) {
            Ok(found) => {
                let spot = match hook {
                    Hook::Handshake => own(&image, &found),
                    _ => image.entry(&found, Arg::First),
                };
                probes.push(Probe { function, hook, spot });
            }
            Err(error) => missing.push((function, error)),
        }
    }
    Ok(Plan { probes, missing })
}

/// A function and its `_ex` form. Both are wrappers of one internal function with the signature of the `_ex` form: probed
/// once where that is cheap. That they call the same one, the plain form with an address in its own frame in place of the
/// caller's, is what proves the signature.
fn pair(image: &Image<'_>, plain: (&'static str, Hook), ex: (&'static str, Hook)) -> Result<Vec<Probe>, Error> {
    let (plain_function, ex_function) = (image.function(plain.0)?, image.function(ex.0)?);
    if let (Spot::Callee(a), Spot::Callee(b)) = (image.returning(&plain_function), image.returning(&ex_function))
        && (a.offset, a.fourth, b.fourth) == (b.offset, Fourth::Stack, Fourth::Untouched)
    {
        return Ok(vec![Probe { function: plain.0, hook: ex.1, spot: Spot::Callee(b) }]);
    }
    Ok(vec![
        Probe { function: plain.0, hook: plain.1, spot: own(image, &plain_function) },
        Probe { function: ex.0, hook: ex.1, spot: own(image, &ex_function) },
    ])
}

/// The function itself, cheap or not.
fn own(image: &Image<'_>, function: &Function<'_>) -> Spot {
    match image.returning(function) {
        Spot::Callee(callee) => Spot::SlowOnly(callee.wrapper),
        spot => spot,
    }
}
