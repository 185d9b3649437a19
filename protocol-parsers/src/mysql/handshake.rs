//! The connection phase: the server's greeting, the client's response to it.
//!
//! In: payloads. Out: which server it is, and what both ends agreed on. Scrambles, tokens and passwords are stepped over.
//!
//! Sources: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html>,
//! <https://mariadb.com/kb/en/connection/>.

use super::wire::Wire;
use crate::exchange::DbSystem;

/// Capabilities; MariaDB's own ones begin at bit 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities(u64);

impl Capabilities {
    /// Set by MySQL; MariaDB from 10.2 on leaves it out, and so do clients that use MariaDB's own capabilities.
    const MYSQL: u64 = 1;
    const CONNECT_WITH_DB: u64 = 1 << 3;
    const COMPRESS: u64 = 1 << 5;
    const PROTOCOL_41: u64 = 1 << 9;
    const SSL: u64 = 1 << 11;
    const SECURE_CONNECTION: u64 = 1 << 15;
    const AUTH_LENENC: u64 = 1 << 21;
    pub(super) const DEPRECATE_EOF: u64 = 1 << 24;
    pub(super) const OPTIONAL_METADATA: u64 = 1 << 25;
    const ZSTD: u64 = 1 << 26;
    pub(super) const QUERY_ATTRIBUTES: u64 = 1 << 27;
    pub(super) const CACHE_METADATA: u64 = 1 << 36;

    pub(super) fn has(self, capability: u64) -> bool {
        self.0 & capability != 0
    }

    /// Frames follow the authentication.
    pub(super) fn compressed(self) -> bool {
        self.has(Self::COMPRESS | Self::ZSTD)
    }

    /// What both ends have.
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The server's first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) system: DbSystem,
    pub(super) capabilities: Capabilities,
}

/// Reads `HandshakeV10`.
pub(super) fn greeting(payload: &[u8]) -> Option<Greeting> {
    let mut wire = Wire(payload);
    if wire.u8()? != 10 {
        return None;
    }
    let version = wire.until_nul()?;
    if version.is_empty() || !version.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    // Thread id, the scramble's first part, a filler.
    wire.u32()?;
    wire.bytes(8)?;
    if wire.u8()? != 0 {
        return None;
    }
    let low = wire.u16()?;
    // Collation, status.
    wire.bytes(3)?;
    let high = wire.u16()?;
    let _scramble = wire.u8()?;
    let reserved = Wire(wire.bytes(10)?);
    let mut capabilities = u64::from(low) | u64::from(high) << 16;
    let mariadb_only = Wire(reserved.0.get(6..)?).u32()?;
    if capabilities & Capabilities::MYSQL == 0 {
        capabilities |= u64::from(mariadb_only) << 32;
    }
    // "5.5.5-" is put in front by MariaDB, so that replicas of old versions accept it.
    let mariadb = version.starts_with(b"5.5.5-") || memchr::memmem::find(version, b"MariaDB").is_some();
    Some(Greeting {
        system: if mariadb { DbSystem::Mariadb } else { DbSystem::Mysql },
        capabilities: Capabilities(capabilities),
    })
}

/// The client's first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// TLS begins behind it.
    Tls,
    /// The handshake goes on in the clear.
    Response(Response<'a>),
}

/// `HandshakeResponse41`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Response<'a> {
    pub(super) capabilities: Capabilities,
    /// `None`: not seen. Empty: none chosen.
    pub(super) database: Option<&'a [u8]>,
}

impl Response<'_> {
    /// The server this client talks to, where the client alone tells.
    pub(super) fn system(&self) -> Option<DbSystem> {
        let own = self.capabilities.0 >> 32 != 0;
        (own && !self.capabilities.has(Capabilities::MYSQL)).then_some(DbSystem::Mariadb)
    }
}

/// Reads `SSLRequest` or `HandshakeResponse41`, of which the payload may be cut behind its fixed part.
pub(super) fn answer(payload: &[u8], whole: bool) -> Option<Answer<'_>> {
    let mut wire = Wire(payload);
    let mut capabilities = u64::from(wire.u32()?);
    let largest_packet = wire.u32()?;
    let _collation = wire.u8()?;
    let reserved = wire.bytes(19)?;
    let mariadb_only = wire.u32()?;
    if capabilities & Capabilities::PROTOCOL_41 == 0
        || reserved.iter().any(|byte| *byte != 0)
        || largest_packet > 1 << 30
    {
        return None;
    }
    if capabilities & Capabilities::MYSQL == 0 {
        capabilities |= u64::from(mariadb_only) << 32;
    } else if mariadb_only != 0 {
        return None;
    }
    let capabilities = Capabilities(capabilities);
    if wire.0.is_empty() && whole {
        return capabilities.has(Capabilities::SSL).then_some(Answer::Tls);
    }
    let database = database(wire, capabilities, whole);
    if whole && database.is_none() {
        return None;
    }
    Some(Answer::Response(Response { capabilities, database }))
}

fn database(mut wire: Wire<'_>, capabilities: Capabilities, whole: bool) -> Option<&[u8]> {
    let _user = wire.until_nul()?;
    if capabilities.has(Capabilities::AUTH_LENENC) {
        wire.text()?;
    } else if capabilities.has(Capabilities::SECURE_CONNECTION) {
        let len = wire.u8()?;
        wire.bytes(len.into())?;
    } else {
        wire.until_nul()?;
    }
    if !capabilities.has(Capabilities::CONNECT_WITH_DB) {
        return Some(b"");
    }
    // The last field of some clients' packets; its NUL is left out by some.
    let terminated = wire.until_nul();
    if whole { terminated.or(Some(wire.0)) } else { terminated }
}

/// The database of `COM_CHANGE_USER`: user, scramble, database.
pub(super) fn changed_database(payload: &[u8]) -> Option<&[u8]> {
    let mut wire = Wire(payload);
    wire.until_nul()?;
    let len = wire.u8()?;
    wire.bytes(len.into())?;
    wire.until_nul()
}
