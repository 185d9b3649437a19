//! The output format of spans.
//!
//! In: gathered spans. Out: payloads, of about a given size at most.

use sidelight_config::OutputFormat;

use super::{console::Console, encode::TraceEncoder, json, pending::Payload};
use crate::model::Span;

/// One encoder and what it keeps between payloads.
pub(crate) enum Format {
    /// One readable line a span.
    Console(Console),
    /// One line of OTLP/JSON a payload.
    Json,
    /// `ExportTraceServiceRequest`.
    Otlp(TraceEncoder),
}

impl Format {
    /// `color`: the output is a terminal that wants it.
    pub(crate) fn new(output: OutputFormat, color: bool) -> Self {
        match output {
            OutputFormat::Console => Self::Console(Console::new(color)),
            OutputFormat::Otlp => Self::Otlp(TraceEncoder::new()),
            OutputFormat::OtlpJson => Self::Json,
        }
    }

    pub(crate) fn encode(&mut self, spans: &[Span], max_bytes: usize, out: &mut Vec<Payload>) {
        let mut text = String::new();
        match self {
            Self::Console(console) => spans.iter().for_each(|span| console.line(span, &mut text)),
            Self::Json => json::line(spans, &mut text),
            Self::Otlp(encoder) => {
                let mut batches = Vec::new();
                encoder.encode(spans, max_bytes, &mut batches);
                out.extend(batches.into_iter().map(|batch| Payload { body: batch.payload, items: batch.items as u64 }));
            }
        }
        if !text.is_empty() {
            out.push(Payload { body: text.into(), items: spans.len() as u64 });
        }
    }
}
