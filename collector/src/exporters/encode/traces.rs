//! `ExportTraceServiceRequest`.
//!
//! In: spans in any order, one at a time. Out: [`Batch`]es of at most `max_bytes`, spans grouped by resource. A resource's own bytes are
//! encoded once and kept while it is in use.

use std::{net::IpAddr, sync::Arc};

use rustc_hash::FxHashMap;

use super::{Batch, attributes, schema_url, scope, wire};
use crate::{
    model::{Resource, Span, SpanKind},
    semconv::{
        attributes::{AttrValue, Visit},
        network::{self, Short},
    },
};

/// Encoded resources kept. One is about 500 bytes; when full, those that nothing else refers to go, then all.
const MAX_RESOURCES: usize = 1024;

/// Growth of a group's own length fields: two keys and two lengths of at most five bytes.
const GROUP_OVERHEAD: usize = 12;

/// `Span.attributes`
const ATTRIBUTES: u8 = 9;

/// Bytes of a span, more than most take.
const TYPICAL: usize = 1024;

/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE` of OTLP: the next bit is valid.
const HAS_IS_REMOTE: u32 = 0x100;

/// `SPAN_FLAGS_CONTEXT_IS_REMOTE` of OTLP.
const IS_REMOTE: u32 = 0x200;

/// Encodes spans; belongs to one thread.
#[derive(Debug, Default)]
pub struct TraceEncoder {
    /// By address; the `Arc` keeps the address from being used again.
    resources: FxHashMap<usize, (Arc<Resource>, Box<[u8]>)>,
    groups: Vec<Group>,
    /// Groups in use; the rest keep their buffers.
    used: usize,
    /// Bytes of the batch that is being made.
    size: usize,
    /// `scope` and `schema_url`.
    scope: Vec<u8>,
    schema_url: Vec<u8>,
}

#[derive(Debug, Default)]
struct Group {
    resource: usize,
    header: usize,
    spans: Vec<u8>,
    count: usize,
}

impl TraceEncoder {
    /// An encoder with empty caches.
    #[must_use]
    pub fn new() -> Self {
        let mut encoder = Self::default();
        scope(&mut encoder.scope);
        schema_url(&mut encoder.schema_url);
        encoder
    }

    /// Encodes a span. If the batch exceeds `max_bytes` with it, the batch ends before it; one that exceeds them alone is a batch.
    pub fn add(&mut self, span: &Span, max_bytes: usize, out: &mut Vec<Batch>) {
        let (mut at, mut before) = self.append(span);
        if self.size + before.added > max_bytes && self.size > 0 {
            self.take_back(at, &before);
            self.finish(out);
            (at, before) = self.append(span);
        }
        debug_assert!(at < self.used);
        self.size += before.added;
    }

    /// Appends a span to its group; gives the group and what it was before.
    fn append(&mut self, span: &Span) -> (usize, Before) {
        let resource = Arc::as_ptr(&span.resource) as usize;
        let open = self.groups.iter().take(self.used).rposition(|group| group.resource == resource);
        let at = open.unwrap_or_else(|| self.open(resource, &span.resource));
        let fixed = self.scope.len() + 2 * self.schema_url.len() + GROUP_OVERHEAD;
        let Some(group) = self.groups.get_mut(at) else { return (at, Before::default()) };
        let len = group.spans.len();
        wire::message(&mut group.spans, 2, |out| encode(out, span));
        group.count += 1;
        let new = open.is_none();
        let added = group.spans.len() - len + if new { group.header + fixed } else { 0 };
        (at, Before { len, new, added })
    }

    fn take_back(&mut self, at: usize, before: &Before) {
        if let Some(group) = self.groups.get_mut(at) {
            group.spans.truncate(before.len);
            group.count -= 1;
        }
        if before.new {
            self.used -= 1;
        }
    }

    fn open(&mut self, address: usize, resource: &Arc<Resource>) -> usize {
        let (_, header) = self.resources.entry(address).or_insert_with(|| (Arc::clone(resource), header(resource)));
        let header = header.len();
        if self.groups.len() == self.used {
            self.groups.push(Group::default());
        }
        if let Some(group) = self.groups.get_mut(self.used) {
            group.resource = address;
            group.header = header;
            group.count = 0;
            group.spans.clear();
        }
        self.used += 1;
        self.used - 1
    }

    /// Ends the batch: one payload of all groups, in the order of their first spans. None if there are no spans.
    pub fn finish(&mut self, out: &mut Vec<Batch>) {
        let lengths = |group: &Group| {
            let scope_spans = self.scope.len() + group.spans.len() + self.schema_url.len();
            let resource_spans = group.header + wire::bytes_len(scope_spans) + self.schema_url.len();
            (scope_spans, resource_spans)
        };
        let groups = || self.groups.iter().take(self.used);
        let total: usize = groups().map(|group| wire::bytes_len(lengths(group).1)).sum();
        let items = groups().map(|group| group.count).sum();
        if items == 0 {
            return;
        }
        let mut payload = Vec::with_capacity(total);
        for group in groups() {
            let (scope_spans, resource_spans) = lengths(group);
            payload.push(wire::key_bytes(1));
            wire::varint(&mut payload, resource_spans as u64);
            if let Some((_, header)) = self.resources.get(&group.resource) {
                payload.extend_from_slice(header);
            }
            payload.push(wire::key_bytes(2));
            wire::varint(&mut payload, scope_spans as u64);
            payload.extend_from_slice(&self.scope);
            payload.extend_from_slice(&group.spans);
            payload.extend_from_slice(&self.schema_url);
            payload.extend_from_slice(&self.schema_url);
        }
        out.push(Batch { payload: payload.into(), items });
        (self.used, self.size) = (0, 0);
        self.forget();
    }

    fn forget(&mut self) {
        if self.resources.len() > MAX_RESOURCES {
            self.resources.retain(|_, (resource, _)| Arc::strong_count(resource) > 1);
        }
        if self.resources.len() > MAX_RESOURCES {
            self.resources.clear();
        }
    }
}

/// What [`TraceEncoder::take_back`] needs.
#[derive(Default)]
struct Before {
    len: usize,
    new: bool,
    added: usize,
}

/// `Resource resource = 1` of `ResourceSpans`.
fn header(resource: &Resource) -> Box<[u8]> {
    let mut out = Vec::new();
    wire::message(&mut out, 1, |out| {
        for (key, value) in &resource.attributes {
            attributes::value(out, 1, key, value);
        }
    });
    out.into()
}

/// The fields of `Span`.
fn encode(out: &mut Vec<u8>, span: &Span) {
    // One check of the room instead of a growth in the middle.
    out.reserve(TYPICAL);
    wire::bytes(out, 1, &span.trace_id.0);
    wire::bytes(out, 2, &span.span_id.0);
    // Proto3 leaves out what has its default value, here and with the flags.
    if let Some(state) = span.exchange.context.and_then(|context| context.state) {
        let state = span.exchange.text.str(state);
        if !state.is_empty() {
            wire::bytes(out, 3, state.as_bytes());
        }
    }
    if let Some(parent) = span.parent {
        wire::bytes(out, 4, &parent.0);
    }
    let mut len = 0;
    span.name(&mut |piece| len += piece.len());
    out.push(wire::key_bytes(5));
    wire::varint(out, len as u64);
    span.name(&mut |piece| out.extend_from_slice(piece.as_bytes()));
    wire::uint(out, 6, kind(span.kind));
    wire::fixed64(out, 7, span.start.0);
    wire::fixed64(out, 8, span.start.0.saturating_add(span.duration));
    span.attributes(&mut Attributes(out));
    if span.error().is_some() {
        // Status { code: STATUS_CODE_ERROR }
        out.extend_from_slice(&[wire::key_bytes(15), 2, wire::key_varint(3), 2]);
    }
    let flags = flags(span);
    if flags != 0 {
        out.extend_from_slice(&wire::key_fixed32(16));
        out.extend_from_slice(&flags.to_le_bytes());
    }
}

/// `Span.attributes` in OTLP.
struct Attributes<'a>(&'a mut Vec<u8>);

impl Visit for Attributes<'_> {
    fn value(&mut self, key: &'static str, value: AttrValue<'_>) {
        attributes::attribute(self.0, ATTRIBUTES, key, value);
    }

    #[inline(always)]
    fn str(&mut self, key: &'static str, text: &str) {
        attributes::string(self.0, ATTRIBUTES, key, text.as_bytes());
    }

    #[inline(always)]
    fn int(&mut self, key: &'static str, number: i64) {
        attributes::int(self.0, ATTRIBUTES, key, number);
    }

    fn address(&mut self, key: &'static str, ip: IpAddr) {
        if let IpAddr::V4(ip) = ip {
            let (text, len) = network::v4(ip);
            attributes::string(self.0, ATTRIBUTES, key, text.get(..len).unwrap_or_default());
        } else {
            let mut room = Short::new();
            room.address(ip);
            self.str(key, room.as_str());
        }
    }
}

/// `Span.kind` in OTLP.
pub(in crate::exporters) fn kind(kind: SpanKind) -> u64 {
    match kind {
        SpanKind::Server => 2,
        SpanKind::Client => 3,
    }
}

/// `Span.flags` in OTLP: the trace flags, and whether the parent is remote. A server's parent is; whether a client's is (the one in its
/// own process, or the one that process passed on) is not known.
pub(in crate::exporters) fn flags(span: &Span) -> u32 {
    u32::from(span.trace_flags)
        | match (span.parent, span.kind) {
            (None, _) => HAS_IS_REMOTE,
            (Some(_), SpanKind::Server) => HAS_IS_REMOTE | IS_REMOTE,
            (Some(_), SpanKind::Client) => 0,
        }
}
