//! systemd's readiness protocol (sd_notify(3)): one datagram to `$NOTIFY_SOCKET`.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Sends `state` (`READY=1`, `STOPPING=1`) to the socket named `socket`, where systemd gave one.
///
/// # Errors
/// When the socket's name is no Unix address, or nobody listens there.
pub(super) fn notify(socket: Option<&OsStr>, state: &str) -> io::Result<()> {
    let Some(name) = socket.map(OsStrExt::as_bytes) else { return Ok(()) };
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(OsStr::from_bytes(name))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_arrives_at_a_path_and_at_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let abstract_name = format!("sidelight-test-{}", std::process::id());
        for (name, address) in [
            (path.display().to_string(), SocketAddr::from_pathname(&path).unwrap()),
            (format!("@{abstract_name}"), SocketAddr::from_abstract_name(&abstract_name).unwrap()),
        ] {
            let listener = UnixDatagram::bind_addr(&address).unwrap();
            notify(Some(OsStr::new(&name)), "READY=1").unwrap();
            let mut got = [0; 16];
            let len = listener.recv(&mut got).unwrap();
            assert_eq!(&got[..len], b"READY=1");
        }
        notify(None, "READY=1").unwrap();
    }
}
