//! What /proc tells of one process.
//!
//! In: a process id. Out: [`Process`], the facts an identity is made of. Everything read is bounded, and a process that ends
//! meanwhile gives what was read until then.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::time::{ClockId, clock_gettime};

use crate::cgroup;

/// Bytes of a command line that are kept: enough for the interpreters' long ones.
const MAX_ARGS: u64 = 4096;
/// Bytes of an environment that are searched.
const MAX_ENVIRON: u64 = 256 << 10;
/// Bytes read of any other file.
const MAX_FILE: u64 = 64 << 10;
/// Attributes taken from one `OTEL_RESOURCE_ATTRIBUTES`.
const MAX_ATTRIBUTES: usize = 128;
/// `USER_HZ`: the unit of times in /proc, 100 on every architecture but alpha.
const TICK_NS: u64 = 10_000_000;

/// Facts of a process, read once when it is first seen (again after exec).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// In the initial PID namespace, as events carry it.
    pub pid: u32,
    /// As the daemon's own PID namespace numbers it: `process.pid`.
    pub own_pid: u32,
    /// Parent.
    pub parent_pid: u32,
    /// Path of the executable: `process.executable.path`. Empty: unknown.
    pub executable: String,
    /// Path of the link to that very file by which it was called, where the two have different names. Empty: none is known.
    pub called: String,
    /// Command line, one entry an argument.
    pub args: Vec<String>,
    /// Kernel `comm`.
    pub comm: String,
    /// Container id from its cgroup, if any.
    pub container_id: Option<String>,
    /// systemd unit from its cgroup, if any.
    pub unit: Option<String>,
    /// Its environment's `OTEL_SERVICE_NAME`.
    pub otel_service_name: Option<String>,
    /// Its environment's `OTEL_RESOURCE_ATTRIBUTES`, parsed.
    pub otel_resource: Vec<(String, String)>,
    /// Start time, Unix ns; 0: unknown.
    pub created: u64,
    /// User name or number it runs as; empty: unknown.
    pub owner: String,
}

/// Reads processes; holds what is the same for all of them.
#[derive(Clone, Debug)]
pub struct Proc {
    root: PathBuf,
    boot_ns: u64,
    users: Vec<(u32, String)>,
}

impl Default for Proc {
    fn default() -> Self {
        Self::new()
    }
}

impl Proc {
    /// The machine's /proc. The user names are those of now; users created later are shown by number.
    #[must_use]
    pub fn new() -> Self {
        let ns = |clock| {
            let now = clock_gettime(clock);
            u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
        };
        let boot_ns = ns(ClockId::Realtime).saturating_sub(ns(ClockId::Boottime));
        Self::at(Path::new("/proc"), boot_ns, &text(Path::new("/etc/passwd"), MAX_FILE))
    }

    fn at(root: &Path, boot_ns: u64, passwd: &str) -> Self {
        let user = |line: &str| {
            let mut fields = line.split(':');
            let (name, uid) = (fields.next()?, fields.nth(1)?);
            Some((uid.parse().ok()?, name.to_owned()))
        };
        Self { root: root.to_owned(), boot_ns, users: passwd.lines().filter_map(user).collect() }
    }

    /// The facts of `pid`; `None` when there is no such process.
    #[must_use]
    pub fn read(&self, pid: u32) -> Option<Process> {
        let dir = self.root.join(pid.to_string());
        let stat = text(&dir.join("stat"), MAX_FILE);
        // `comm` stands in brackets and may hold brackets itself: fields are counted from the last one.
        let (head, tail) = stat.rsplit_once(')')?;
        let mut fields = tail.split_ascii_whitespace();
        let parent_pid = fields.nth(1).and_then(|f| f.parse().ok()).unwrap_or(0);
        let started: Option<u64> = fields.nth(17).and_then(|f| f.parse().ok());

        let groups = text(&dir.join("cgroup"), MAX_FILE);
        let environ = bytes(&dir.join("environ"), MAX_ENVIRON);
        let variable = |name: &str| {
            let value = environ.split(|b| *b == 0).find_map(|v| v.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
            Some(String::from_utf8_lossy(value).into_owned()).filter(|v| !v.is_empty())
        };
        let executable = self.executable(pid).unwrap_or_default();
        let args = args(&bytes(&dir.join("cmdline"), MAX_ARGS));
        let comm = head.split_once('(').map_or("", |(_, comm)| comm);
        Some(Process {
            pid,
            own_pid: pid,
            parent_pid,
            called: called(&dir, &executable, comm, &args).unwrap_or_default(),
            executable,
            args,
            comm: comm.to_owned(),
            container_id: cgroup::container(&groups),
            unit: cgroup::unit(&groups),
            otel_service_name: variable("OTEL_SERVICE_NAME"),
            otel_resource: variable("OTEL_RESOURCE_ATTRIBUTES")
                .and_then(|text| resource_attributes(&text))
                .unwrap_or_default(),
            created: started.map_or(0, |ticks| self.boot_ns.saturating_add(ticks.saturating_mul(TICK_NS))),
            owner: self.owner(&text(&dir.join("status"), MAX_FILE)),
        })
    }

    /// Path of the executable of `pid`, as its own root directory has it.
    #[must_use]
    pub fn executable(&self, pid: u32) -> Option<String> {
        let path = fs::read_link(self.root.join(pid.to_string()).join("exe")).ok()?;
        let path = path.to_string_lossy();
        Some(path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned())
    }

    /// The effective user.
    fn owner(&self, status: &str) -> String {
        let uid = status.lines().find_map(|l| l.strip_prefix("Uid:")?.split_ascii_whitespace().nth(1));
        let name = |uid: &str| {
            let number: u32 = uid.parse().ok()?;
            self.users.iter().find(|(user, _)| *user == number).map(|(_, name)| name.clone())
        };
        uid.map_or_else(String::new, |uid| name(uid).unwrap_or_else(|| uid.to_owned()))
    }
}

/// The name by which an executable was called, as a path beside it. A process may give itself any `comm` and any title; only a
/// name under which its own file is found counts.
fn called(dir: &Path, executable: &str, comm: &str, args: &[String]) -> Option<String> {
    let (folder, own) = executable.rsplit_once('/')?;
    // The kernel's `comm` is the called name's first 15 bytes; a title begins with the name, and blanks follow.
    let title = args.first().and_then(|first| first.split_ascii_whitespace().next()).unwrap_or_default();
    let names = [comm, title.rsplit('/').next().unwrap_or_default()];
    let file = fs::metadata(dir.join("exe")).ok()?;
    names.into_iter().find_map(|name| {
        let plain = !name.is_empty() && name != own && name != "." && name != ".." && !name.contains('/');
        let path = plain.then(|| format!("{folder}/{name}"))?;
        let found = fs::metadata(dir.join("root").join(path.strip_prefix('/')?)).ok()?;
        ((found.dev(), found.ino()) == (file.dev(), file.ino())).then_some(path)
    })
}

/// `key=value` pairs divided by commas, percent-encoded. As the OpenTelemetry resource specification asks, any error discards
/// the whole text: `None`.
#[must_use]
pub fn resource_attributes(text: &str) -> Option<Vec<(String, String)>> {
    let mut out = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).take(MAX_ATTRIBUTES) {
        let (key, value) = pair.split_once('=')?;
        let key = percent_decode(key.trim())?;
        if key.is_empty() {
            return None;
        }
        out.push((key, percent_decode(value.trim())?));
    }
    Some(out)
}

fn percent_decode(text: &str) -> Option<String> {
    let mut rest = text.as_bytes();
    let mut out = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (first, tail) {
            (b'%', [high, low, after @ ..]) => (hex(*high)? << 4 | hex(*low)?, after),
            (b'%', _) => return None,
            _ => (*first, tail),
        };
        out.push(byte);
        rest = after;
    }
    String::from_utf8(out).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|v| u8::try_from(v).ok())
}

fn args(cmdline: &[u8]) -> Vec<String> {
    let cmdline = cmdline.strip_suffix(&[0]).unwrap_or(cmdline);
    if cmdline.is_empty() {
        return Vec::new();
    }
    cmdline.split(|b| *b == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
}

fn text(path: &Path, limit: u64) -> String {
    String::from_utf8_lossy(&bytes(path, limit)).into_owned()
}

/// The first `limit` bytes; what cannot be read (gone, not permitted) is empty.
fn bytes(path: &Path, limit: u64) -> Vec<u8> {
    let mut out = Vec::new();
    if let Ok(file) = File::open(path) {
        // A process that ends while it is read gives an error after some bytes: those bytes count.
        let _ = file.take(limit).read_to_end(&mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn fixture(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Proc) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("42");
        fs::create_dir(&dir).unwrap();
        for (name, content) in files {
            fs::write(dir.join(name), content).unwrap();
        }
        let proc = Proc::at(root.path(), 1_000, "root:x:0:0::/root:/bin/sh\nbroken\nwww-data:x:33:33::/:/bin/sh\n");
        (root, proc)
    }

    const STAT: &[u8] = b"42 (a) b (c)) S 7 42 42 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 1 0 250 1 2 3 0 0\n";

    #[test]
    fn facts_come_from_their_files() {
        let (root, proc) = fixture(&[
            ("stat", STAT),
            ("cmdline", b"/usr/bin/python3\0-m\0app\0"),
            ("cgroup", b"0::/system.slice/shop.service\n"),
            ("environ", b"A=1\0OTEL_SERVICE_NAME=shop\0OTEL_RESOURCE_ATTRIBUTES=a=1,b=x%2Cy\0OTEL_SERVICE_NAMES=no\0"),
            ("status", b"Name:\ta\nUid:\t0\t33\t0\t0\n"),
        ]);
        symlink("/usr/bin/python3.11 (deleted)", root.path().join("42/exe")).unwrap();
        let found = proc.read(42).unwrap();
        let expected = Process {
            pid: 42,
            own_pid: 42,
            parent_pid: 7,
            executable: "/usr/bin/python3.11".into(),
            called: String::new(),
            args: vec!["/usr/bin/python3".into(), "-m".into(), "app".into()],
            comm: "a) b (c)".into(),
            container_id: None,
            unit: Some("shop.service".into()),
            otel_service_name: Some("shop".into()),
            otel_resource: vec![("a".into(), "1".into()), ("b".into(), "x,y".into())],
            created: 1_000 + 250 * TICK_NS,
            owner: "www-data".into(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_process_of_which_only_its_stat_is_left_is_still_one() {
        let (_root, proc) = fixture(&[("stat", STAT)]);
        let found = proc.read(42).unwrap();
        assert_eq!((found.comm.as_str(), found.executable.as_str(), found.args.len()), ("a) b (c)", "", 0));
        assert_eq!(proc.read(43), None);
    }

    #[test]
    fn damaged_files_give_what_they_hold() {
        for stat in ["", ")", "42 (a", "42 (a)", "42 (a) S x", "() S 1"] {
            let (_root, proc) = fixture(&[("stat", stat.as_bytes()), ("status", b"Uid:\n"), ("cmdline", &[0, 0, 255])]);
            if let Some(found) = proc.read(42) {
                assert_eq!(found.created, 0, "{stat:?}");
            }
        }
    }

    #[test]
    fn the_name_it_was_called_by_counts_if_it_is_a_link_to_its_file() {
        for (comm, first, expected) in [
            ("redis-server", "redis-server *:6379", "/bin/redis-server"),
            // Named anew by itself.
            ("io_thd_1", "/opt/redis-server 127.0.0.1:6379", "/bin/redis-server"),
            ("redis-check-rdb", "redis-check-rdb", ""),
            ("worker", "nginx: worker process", ""),
            ("another", "", ""),
            ("..", "../../etc", ""),
        ] {
            let root = tempfile::tempdir().unwrap();
            let dir = root.path().join("42");
            fs::create_dir_all(dir.join("root/bin")).unwrap();
            fs::write(dir.join("root/bin/redis-check-rdb"), "").unwrap();
            fs::write(dir.join("root/bin/another"), "").unwrap();
            symlink("redis-check-rdb", dir.join("root/bin/redis-server")).unwrap();
            fs::hard_link(dir.join("root/bin/redis-check-rdb"), dir.join("exe")).unwrap();
            let found = called(&dir, "/bin/redis-check-rdb", comm, &args(first.as_bytes())).unwrap_or_default();
            assert_eq!(found, expected, "{comm}, {first}");
        }
    }

    #[test]
    fn long_command_lines_are_cut() {
        let (_root, proc) = fixture(&[("stat", STAT), ("cmdline", &[b'x'; 10_000])]);
        assert_eq!(proc.read(42).unwrap().args, ["x".repeat(4096)]);
    }

    #[test]
    fn unknown_users_are_shown_by_number() {
        let (_root, proc) = fixture(&[("stat", STAT), ("status", b"Uid:\t1\t1001\t1\t1\n")]);
        assert_eq!(proc.read(42).unwrap().owner, "1001");
    }

    #[test]
    fn resource_attributes_are_decoded_or_discarded_whole() {
        let parse = |text| resource_attributes(text).map(|all| format!("{all:?}"));
        assert_eq!(parse(" a = 1 ,b=x%20y=z,, ").as_deref(), Some(r#"[("a", "1"), ("b", "x y=z")]"#));
        assert_eq!(parse("").as_deref(), Some("[]"));
        for wrong in ["a", "a=1,b", "=1", "a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn this_very_process_is_found() {
        let own = Proc::new().read(std::process::id()).unwrap();
        assert!(own.executable.ends_with(&own.args[0].rsplit('/').next().unwrap().to_owned()), "{own:?}");
        assert!(own.created > 1_600_000_000_000_000_000 && !own.owner.is_empty(), "{own:?}");
    }
}
