//! Metrics that an OTLP end point accepted, as values to compare.
//!
//! In: [`Sink`]s. Out: metrics with their resource, the last points of duration histograms, every point checked on the way.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{
        AggregationTemporality, HistogramDataPoint, Metric, metric::Data, number_data_point::Value as Number,
    },
};

use crate::otlp_sink::Sink;

/// As the conventions advise for the durations of requests and calls.
const REQUESTS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The same for databases.
const DATABASES: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Attributes by key, numbers as text.
pub type Attributes = BTreeMap<String, String>;

/// The attributes of a resource or a point.
pub fn attributes(list: &[KeyValue]) -> Attributes {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{}: {other:?}", pair.key),
    };
    list.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

/// Every metric that arrived, in order, with its resource.
pub fn metrics(sinks: &[&Sink]) -> Vec<(Attributes, Metric)> {
    let mut all = Vec::new();
    for group in sinks.iter().flat_map(|sink| sink.metrics()).flat_map(|request| request.resource_metrics) {
        let resource = attributes(&group.resource.unwrap_or_default().attributes);
        let found = group.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
        all.extend(found.map(|metric| (resource.clone(), metric)));
    }
    all
}

/// The last point of every series of a duration histogram; each point is checked, and that no series goes back.
pub fn last_points(sinks: &[&Sink], name: &str) -> Vec<(Attributes, HistogramDataPoint)> {
    let bounds: &[f64] = if name.starts_with("db.") { &DATABASES } else { &REQUESTS };
    let mut last = BTreeMap::new();
    for (resource, metric) in metrics(sinks).into_iter().filter(|(_, metric)| metric.name == name) {
        assert_eq!(metric.unit, "s");
        let Some(Data::Histogram(histogram)) = metric.data else { panic!("{name} is no histogram") };
        assert_eq!(histogram.aggregation_temporality, i32::from(AggregationTemporality::Cumulative));
        for point in histogram.data_points {
            assert_eq!(point.explicit_bounds, bounds);
            assert_eq!(point.bucket_counts.len(), bounds.len() + 1);
            assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
            let key = (resource.clone(), attributes(&point.attributes), point.start_time_unix_nano);
            let before = last.insert(key, point.clone()).map_or(0, |before: HistogramDataPoint| before.count);
            assert!(before <= point.count, "{name} went back from {before}: {point:?}");
        }
    }
    last.into_iter().map(|((resource, ..), point)| (resource, point)).collect()
}

/// How many values a duration histogram has in all series.
pub fn count(sinks: &[&Sink], name: &str) -> usize {
    last_points(sinks, name).iter().map(|(_, point)| usize::try_from(point.count).unwrap()).sum()
}

/// The last values of the daemon's own metrics, attributes summed.
pub fn health(sinks: &[&Sink]) -> BTreeMap<String, i64> {
    let own = metrics(sinks).into_iter().filter(|(resource, _)| resource["service.name"] == "sidelight");
    let mut last = BTreeMap::new();
    for (_, metric) in own {
        let points = match metric.data {
            Some(Data::Sum(sum)) => sum.data_points,
            Some(Data::Gauge(gauge)) => gauge.data_points,
            other => panic!("{}: {other:?}", metric.name),
        };
        let whole = |value| if let Some(Number::AsInt(number)) = value { number } else { 0 };
        last.insert(metric.name, points.into_iter().map(|point| whole(point.value)).sum());
    }
    last
}
