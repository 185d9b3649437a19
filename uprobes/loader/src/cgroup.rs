//! What a process's control groups tell of the container or the service it belongs to.
//!
//! In: the text of /proc/PID/cgroup (v1: a line for each hierarchy, v2: one line `0::PATH`). Out: a container's id, a unit.

/// The container's id: 64 hexadecimal digits that end a component of any path, as Docker, containerd, CRI-O and Podman
/// write them: `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`, `slice:cri-containerd:ID`, `ID`.
/// A container's monitor (`crio-conmon-ID.scope`, `libpod-conmon-ID.scope`) lies outside of it.
pub(crate) fn container(groups: &str) -> Option<String> {
    groups.lines().filter_map(path).flat_map(|path| path.rsplit('/')).find_map(|part| {
        let part = part.strip_suffix(".scope").unwrap_or(part);
        let (before, id) = part.rsplit_once(['-', ':']).unwrap_or(("", part));
        let is_id = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
        (is_id && !before.ends_with("conmon")).then(|| id.to_owned())
    })
}

/// The systemd service: the innermost `*.service`, except the manager of a user's session, which is no service of its own.
pub(crate) fn unit(groups: &str) -> Option<String> {
    let line = groups.lines().find(|l| l.starts_with("0::/") && l.len() > 4).or_else(|| {
        let v1 = |l: &&str| l.split(':').nth(1) == Some("name=systemd");
        groups.lines().find(v1)
    })?;
    let part = path(line)?.rsplit('/').find(|part| part.ends_with(".service"))?;
    (!part.starts_with("user@")).then(|| part.to_owned())
}

fn path(line: &str) -> Option<&str> {
    line.splitn(3, ':').nth(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn containers_of_the_usual_runtimes() {
        for path in [
            "/docker/ID",
            "/system.slice/docker-ID.scope",
            "/kubepods/besteffort/pod1b2c/ID",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1b2c.slice/cri-containerd-ID.scope",
            "/kubepods.slice/kubepods-pod1b2c.slice/crio-ID.scope",
            "/system.slice/containerd.service/kubepods-pod1b2c.slice:cri-containerd:ID",
            "/machine.slice/libpod-ID.scope/container",
            "/../docker-ID.scope/init.scope",
        ] {
            let path = path.replace("ID", ID);
            for groups in
                [format!("0::{path}\n"), format!("12:pids:/\n3:cpu,cpuacct:{path}\n1:name=systemd:{path}\n0::/\n")]
            {
                assert_eq!(container(&groups).as_deref(), Some(ID), "{groups}");
            }
        }
    }

    #[test]
    fn what_only_resembles_a_container_is_none() {
        for path in [
            "/",
            "/docker/abc",
            "/machine.slice/libpod-conmon-ID.scope",
            "/kubepods.slice/crio-conmon-ID.scope",
            "/x-IDf",
        ] {
            assert_eq!(container(&format!("0::{}\n", path.replace("ID", ID))), None, "{path}");
        }
        assert_eq!(container("garbage"), None);
        assert_eq!(container(&format!("0::/{}\n", "é".repeat(32))), None);
    }

    #[test]
    fn units_of_both_versions() {
        assert_eq!(unit("0::/system.slice/nginx.service\n").as_deref(), Some("nginx.service"));
        assert_eq!(
            unit("0::/system.slice/system-pg.slice/pg@15-main.service/sub\n").as_deref(),
            Some("pg@15-main.service")
        );
        assert_eq!(
            unit("5:pids:/a.service\n1:name=systemd:/system.slice/b.service\n0::/\n").as_deref(),
            Some("b.service")
        );
        assert_eq!(
            unit("0::/user.slice/user-1.slice/user@1.service/app.slice/web.service\n").as_deref(),
            Some("web.service")
        );
    }

    #[test]
    fn sessions_and_scopes_are_no_unit() {
        for groups in [
            "0::/user.slice/user-1000.slice/session-2.scope\n",
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope\n",
            "0::/\n",
            "",
            "0::",
            "x",
        ] {
            assert_eq!(unit(groups), None, "{groups:?}");
        }
    }
}
