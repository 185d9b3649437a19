//! Which protocol does a connection speak? Judged from the first bytes of both directions; ports and names are only priors.
//!
//! The bias: rather late than wrong. A protocol is committed to only on a request and its answer that agree, or on one
//! direction's bytes that nothing else sends (a whole, valid HTTP/1 request head).

use crate::contract::{Protocol, Role};

/// What is known of a connection when its protocol is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// First bytes read, at most [`crate::MAX_REST`].
    pub ingress: &'a [u8],
    /// First bytes written.
    pub egress: &'a [u8],
    /// Whether they are the connection's very first bytes (else it was joined in the middle).
    pub from_start: bool,
    /// Who connected, where the kernel knows.
    pub role: Option<Role>,
    /// Plaintext of a TLS library.
    pub tls: bool,
}

/// One protocol's judgement of a [`Sample`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// It is this protocol.
    Certain(Option<Role>),
    /// It may be; more bytes are needed.
    Possible,
    /// It is not.
    No,
}

/// The answer of [`detect`].
#[derive(Clone, Copy)]
pub enum Detection {
    /// This protocol, with the watched side's role where the bytes tell.
    Is(&'static Protocol, Option<Role>),
    /// None of ours, and recognised as something else: `tls`, `ssh`.
    Opaque(&'static str),
    /// More bytes are needed.
    Undecided,
    /// Nothing we know.
    Unknown,
}

/// Asks every protocol of [`crate::PROTOCOLS`].
#[must_use]
pub fn detect(sample: &Sample<'_>) -> Detection {
    let mut possible = false;
    for protocol in crate::PROTOCOLS {
        match (protocol.score)(sample) {
            Score::Certain(role) => return Detection::Is(protocol, role.or(sample.role)),
            Score::Possible => possible = true,
            Score::No => {}
        }
    }
    if possible { Detection::Undecided } else { Detection::Unknown }
}
