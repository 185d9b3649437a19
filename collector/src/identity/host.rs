//! Facts of the machine, read once at start.
//!
//! In: files under /proc/sys and /etc. Out: [`Host`].

use std::fs;

/// The machine as resources name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// `host.name`; empty: unknown.
    pub name: String,
    /// `host.id`: the machine id.
    pub id: Option<String>,
}

impl Host {
    /// Reads the facts; what cannot be read is unknown.
    #[must_use]
    pub fn read() -> Self {
        let line =
            |path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Self {
            name: line("/proc/sys/kernel/hostname").unwrap_or_default(),
            id: line("/etc/machine-id").or_else(|| line("/var/lib/dbus/machine-id")),
        }
    }

    /// Whatever tells this machine from others best.
    pub(super) fn key(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.name)
    }
}

/// `host.arch` of this build.
pub(super) const ARCH: &str = match std::env::consts::ARCH.as_bytes() {
    b"x86_64" => "amd64",
    b"aarch64" => "arm64",
    b"arm" => "arm32",
    b"powerpc64" => "ppc64",
    _ => std::env::consts::ARCH,
};
