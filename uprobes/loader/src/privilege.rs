//! What the daemon must be allowed to do, checked before anything is loaded.
//!
//! In: `/proc/self/status`. Out: the name of the first capability that is missing.

use std::fs;

const CAP_SYS_ADMIN: u32 = 21;
/// Number, name and what needs it. Before 5.8, and still, CAP_SYS_ADMIN stands for both.
const NEEDED: [(u32, &str); 2] = [(38, "CAP_PERFMON"), (39, "CAP_BPF")];

/// The capability that is missing, if one is.
pub(crate) fn missing() -> Option<&'static str> {
    missing_of(effective()?)
}

fn missing_of(effective: u64) -> Option<&'static str> {
    let has = |capability: u32| effective >> capability & 1 != 0;
    if has(CAP_SYS_ADMIN) {
        return None;
    }
    NEEDED.iter().find(|(capability, _)| !has(*capability)).map(|(_, name)| *name)
}

/// `None` if it cannot be told: then the kernel will say.
fn effective() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// Inode number of the initial PID namespace (`PROC_PID_INIT_INO`): records carry its ids.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The daemon counts processes as the kernel does. `None`: yes; else the name of its namespace.
pub(crate) fn foreign_pid_namespace() -> Option<String> {
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned();
    (namespace != INITIAL_PID_NAMESPACE).then_some(namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_missing_capability_is_named() {
        assert_eq!(missing_of(0), Some("CAP_PERFMON"));
        assert_eq!(missing_of(1 << 38), Some("CAP_BPF"));
        assert_eq!(missing_of(1 << 38 | 1 << 39), None);
        assert_eq!(missing_of(1 << 21), None);
    }
}
