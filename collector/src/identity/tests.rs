//! Resources of processes, by a table.

use std::fmt::Write;

use super::*;
use crate::{
    model::Value,
    semconv::SCOPE_VERSION,
    testing::{host, inet, process},
};

fn identities(configured: &[(&str, &str)]) -> Identities {
    let configured = configured.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Identities::new(host(), configured)
}

fn shown(resource: &Resource) -> String {
    let mut text = String::new();
    for (key, value) in &resource.attributes {
        match value {
            Value::Int(number) => writeln!(text, "{key}={number}").unwrap(),
            Value::Str(value) => writeln!(text, "{key}={}", value.replace(SCOPE_VERSION, "VERSION")).unwrap(),
            Value::StrArray(values) => writeln!(text, "{key}={values:?}").unwrap(),
        }
    }
    text
}

fn service(process: &Process) -> String {
    identities(&[]).learn(process).instance.service_name.clone()
}

#[test]
fn a_plain_process_is_named_after_its_executable() {
    let process = Process {
        own_pid: 33,
        parent_pid: 1,
        created: 1_795_435_261_000_000_000,
        owner: "www-data".to_owned(),
        args: vec!["nginx: worker".to_owned(), "--password=x".to_owned()],
        ..process(4321, "/usr/sbin/nginx")
    };
    insta::assert_snapshot!(shown(&identities(&[("deployment.environment.name", "test")]).learn(&process)), @r"
        deployment.environment.name=test
        host.arch=amd64
        host.id=0123456789abcdef0123456789abcdef
        host.name=node1
        os.type=linux
        process.creation.time=2026-11-23T12:01:01.000Z
        process.executable.name=nginx
        process.executable.path=/usr/sbin/nginx
        process.owner=www-data
        process.parent_pid=1
        process.pid=33
        service.instance.id=c93f9a37-5e35-5126-aa2f-c6187734daff
        service.name=nginx
        telemetry.distro.name=sidelight
        telemetry.distro.version=VERSION
    ");
}

#[test]
fn an_end_of_a_capture_has_an_address_and_nothing_of_this_machine() {
    insta::assert_snapshot!(shown(&identities(&[]).end(&inet("[2001:db8::1]:80"), false)), @r"
        service.instance.id=bdf91ab3-03b0-5cde-acb4-d46dc2ef7abb
        service.name=[2001:db8::1]:80
        telemetry.distro.name=sidelight
        telemetry.distro.version=VERSION
    ");
    assert_eq!(identities(&[]).end(&inet("192.0.2.1:40001"), true).instance.service_name, "192.0.2.1");
    assert_eq!(identities(&[]).end(&Endpoint::Unknown, false).instance.service_name, "unknown_service");
    let named = identities(&[("service.name", "shop")]).end(&inet("192.0.2.1:80"), false);
    assert_eq!(named.instance.service_name, "shop");
}

#[test]
fn service_names_follow_their_order() {
    let python = Process {
        args: ["python3", "-m", "shop.server"].map(str::to_owned).to_vec(),
        ..process(1, "/usr/bin/python3.13")
    };
    assert_eq!(service(&python), "shop.server");
    let unit = Process { unit: Some("shop.service".to_owned()), ..python.clone() };
    assert_eq!(service(&unit), "shop");
    for unit in ["session-1.scope", "user@1000.service", "init.scope", "system.slice", ".service"] {
        assert_eq!(service(&Process { unit: Some(unit.to_owned()), ..python.clone() }), "shop.server", "{unit}");
    }
    let container = Process { container_id: Some("0123456789abcdef".repeat(4)), ..unit };
    assert_eq!(service(&container), "0123456789ab");
    let configured = identities(&[("service.name", "configured")]).learn(&container);
    assert_eq!(configured.instance.service_name, "configured");
    let resource = Process {
        otel_resource: vec![
            ("service.name".to_owned(), "own".to_owned()),
            ("service.namespace".to_owned(), "ns".to_owned()),
        ],
        ..container
    };
    let own = identities(&[("service.name", "configured"), ("service.namespace", "other")]).learn(&resource);
    assert_eq!(own.instance.service_name, "own");
    assert!(own.instance.attributes.contains(&("service.namespace".to_owned(), "ns".to_owned())));
    let named = Process { otel_service_name: Some("first".to_owned()), ..resource };
    assert_eq!(service(&named), "first");
}

#[test]
fn instances_survive_restarts_and_are_shared_by_workers() {
    let mut all = identities(&[]);
    let first = all.learn(&process(10, "/usr/sbin/nginx"));
    let second = all.learn(&process(11, "/usr/sbin/nginx"));
    let other = all.learn(&process(12, "/opt/nginx"));
    assert!(Arc::ptr_eq(&first.instance, &second.instance));
    assert_ne!(first.attributes, second.attributes, "process.pid differs");
    assert_ne!(first.instance.instance_id, other.instance.instance_id);
    // UUIDv5 of "program:/usr/sbin/nginx@0123456789abcdef0123456789abcdef", as Python's uuid.uuid5 gives it.
    assert_eq!(first.instance.instance_id, "c93f9a37-5e35-5126-aa2f-c6187734daff");
    assert_eq!(identities(&[]).learn(&process(99, "/usr/sbin/nginx")).instance, first.instance);
}

#[test]
fn containers_and_units_are_instances_of_their_own() {
    let of = |container: Option<&str>, unit: Option<&str>| {
        let process = Process {
            container_id: container.map(str::to_owned),
            unit: unit.map(str::to_owned),
            ..process(1, "/usr/sbin/nginx")
        };
        identities(&[]).learn(&process).instance.instance_id.clone()
    };
    let ids = [of(None, None), of(None, Some("a.service")), of(Some("c1"), None), of(Some("c2"), Some("a.service"))];
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(ids.iter().filter(|other| *other == id).count(), 1, "{at}");
    }
    assert_eq!(of(Some("c1"), Some("a.service")), of(Some("c1"), None));
}

#[test]
fn a_process_is_known_by_the_name_of_its_program_until_it_is_replaced() {
    let mut all = identities(&[]);
    all.learn(&Process { called: "/usr/bin/redis-server".to_owned(), ..process(1, "/usr/bin/redis-check-rdb") });
    all.learn(&process(2, "/usr/sbin/mariadbd (deleted)"));
    assert_eq!((all.program(1), all.program(2), all.program(3)), ("redis-server", "mariadbd", ""));
    all.replaced(1);
    assert_eq!(all.program(1), "");
}

#[test]
fn processes_are_forgotten_a_while_after_they_ended_and_at_once_when_replaced() {
    let mut all = identities(&[]);
    all.learn(&process(1, "/bin/a"));
    all.learn(&process(2, "/bin/b"));
    all.ended(1, KernelTime(0));
    all.tick(KernelTime(KEEP_NS - 1));
    assert!(all.process(1).is_some());
    all.tick(KernelTime(KEEP_NS));
    assert!(all.process(1).is_none() && all.process(2).is_some());
    all.replaced(2);
    assert!(all.process(2).is_none());
    all.learn(&process(2, "/bin/c"));
    assert_eq!(all.process(2).unwrap().instance.service_name, "c");
}

#[test]
fn the_cache_is_bounded_and_drops_ended_processes_first() {
    let mut all = identities(&[]);
    for pid in 0..MAX_PROCESSES as u32 {
        all.learn(&process(pid, "/bin/a"));
    }
    all.ended(7, KernelTime(5));
    all.ended(8, KernelTime(4));
    all.learn(&process(100_000, "/bin/a"));
    assert!(all.process(8).is_none() && all.process(7).is_some());
    all.learn(&process(100_001, "/bin/a"));
    all.learn(&process(100_002, "/bin/a"));
    assert!(all.process(7).is_none());
    assert_eq!(all.processes.len(), MAX_PROCESSES);
    assert_eq!(all.instances.len(), 1);
}
