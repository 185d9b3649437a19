//! HTTP/1.0 and HTTP/1.1 (RFC 9112).

use crate::contract::Protocol;

/// The table's entry.
pub static PROTOCOL: Protocol =
    Protocol { name: "http1", score: |_| crate::detect::Score::No, parser: |_| unimplemented!() };
