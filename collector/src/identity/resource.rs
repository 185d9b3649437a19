//! Who a process is: the instance and the resource it stands for.
//!
//! In: a [`Process`], the [`Host`], what the operator configured. Out: an [`Instance`] and a [`Resource`], attributes sorted by key.
//!
//! * An instance is the container, else the systemd service, else (executable or script, host); `service.instance.id` is the UUIDv5 of that. So
//!   nginx's workers are one instance, and a restart keeps it.
//! * `service.name`: the process' own `OTEL_SERVICE_NAME`, else `service.name` of its own `OTEL_RESOURCE_ATTRIBUTES`, else the configured one,
//!   else the first twelve digits of the container id, the service unit's name, the executable's or script's.
//! * Other attributes: the process' own `OTEL_RESOURCE_ATTRIBUTES` over the configured ones over what we found.
//! * Command lines are not exported: they may hold secrets.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use super::{
    host::{ARCH, Host},
    program::Program,
};
use crate::{
    model::{Endpoint, Instance, Process, Resource, UnixTime, Value},
    semconv::{
        SCOPE_NAME, SCOPE_VERSION,
        network::{self, Short},
    },
    time::Utc,
};

/// Namespace of `service.instance.id` in the conventions.
const NAMESPACE: Uuid = Uuid::from_u128(0x4d63_009a_8d0f_11ee_aad7_4c79_6ed8_e320);

type Attributes = BTreeMap<String, String>;

/// The instance of a process.
pub(super) fn instance(process: &Process, host: &Host, configured: &Attributes) -> Instance {
    let program = Program::of(process);
    let unit = process.unit.as_deref().and_then(service);
    let (found, seed) = match (&process.container_id, unit) {
        (Some(container), _) => (container.get(..12).unwrap_or(container), format!("container:{container}")),
        (None, Some(unit)) => (unit, format!("unit:{unit}@{}", host.key())),
        (None, None) => (program.name, format!("program:{}@{}", program.path, host.key())),
    };
    let mut attributes = common();
    let facts = [
        ("container.id", process.container_id.as_deref()),
        ("host.id", host.id.as_deref()),
        ("host.name", Some(host.name.as_str())),
        ("service.instance.id", Some(&*uuid(&seed).to_string())),
        ("service.name", Some(found)),
        ("telemetry.sdk.language", program.language),
    ]
    .map(|(key, value)| (key.to_owned(), value.unwrap_or_default().to_owned()));
    attributes.extend(facts);
    attributes
        .extend([("host.arch", ARCH), ("os.type", "linux")].map(|(key, value)| (key.to_owned(), value.to_owned())));
    attributes.extend(configured.clone());
    attributes.extend(process.otel_resource.iter().cloned());
    attributes.extend(process.otel_service_name.iter().map(|name| ("service.name".to_owned(), name.clone())));
    finish(attributes)
}

/// The instance of an end of a connection in a capture file. A client's port says nothing and is left out.
pub(super) fn replayed(end: &Endpoint, client: bool, configured: &Attributes) -> Instance {
    let mut room = Short::new();
    let name = match end {
        Endpoint::Inet(ip, port) => {
            room.authority(*ip, Some(*port).filter(|_| !client));
            room.as_str()
        }
        Endpoint::Unix(_) | Endpoint::Unknown => network::address(end, &mut room).0.unwrap_or("unknown_service"),
    };
    let mut attributes = common();
    attributes.insert("service.instance.id".to_owned(), uuid(&format!("end:{name}")).to_string());
    attributes.insert("service.name".to_owned(), name.to_owned());
    attributes.extend(configured.clone());
    finish(attributes)
}

/// The resource of a process; `None`: it has no process (capture file).
pub(super) fn resource(instance: Arc<Instance>, process: Option<&Process>) -> Resource {
    let mut attributes: BTreeMap<String, Value> =
        instance.attributes.iter().map(|(key, value)| (key.clone(), Value::Str(value.clone()))).collect();
    if let Some(process) = process {
        let path = &process.executable;
        let created = if process.created == 0 { String::new() } else { Utc(UnixTime(process.created)).to_string() };
        let texts = [
            ("process.creation.time", created.as_str()),
            ("process.executable.name", path.rsplit('/').next().unwrap_or_default()),
            ("process.executable.path", path),
            ("process.owner", &process.owner),
        ];
        for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            attributes.insert(key.to_owned(), Value::Str(text.to_owned()));
        }
        for (key, pid) in [("process.pid", process.own_pid), ("process.parent_pid", process.parent_pid)] {
            if pid != 0 {
                attributes.insert(key.to_owned(), Value::Int(i64::from(pid)));
            }
        }
    }
    let pid = process.map_or(0, |process| process.own_pid);
    Resource { instance, pid, attributes: attributes.into_iter().collect() }
}

fn common() -> Attributes {
    [("telemetry.distro.name", SCOPE_NAME), ("telemetry.distro.version", SCOPE_VERSION)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn uuid(seed: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, seed.as_bytes())
}

fn finish(mut attributes: Attributes) -> Instance {
    attributes.retain(|_, value| !value.is_empty());
    let service_name =
        attributes.entry("service.name".to_owned()).or_insert_with(|| "unknown_service".to_owned()).clone();
    let instance_id = attributes.get("service.instance.id").cloned().unwrap_or_default();
    let digest: String = attributes.iter().map(|(key, value)| format!("{key}\0{value}\0")).collect();
    let key = uuid(&digest).as_u128();
    Instance { service_name, instance_id, key, attributes: attributes.into_iter().collect() }
}

/// The name of a service unit. Scopes and slices hold many programs, and a user's manager (`user@1000.service`) all of that user's:
/// they name no service.
fn service(unit: &str) -> Option<&str> {
    unit.strip_suffix(".service").filter(|name| !name.is_empty() && !name.starts_with("user@"))
}
