//! What /proc tells of one process.

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
