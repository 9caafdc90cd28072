//! Traces of records through the topics, told to a collector by OTLP.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use epicenter_bus::Traced;
use epicenter_model::TraceContext;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanExporter, SpanLinks, SpanProcessor};
use serde::{Deserialize, Serialize};

use crate::Metrics;
use crate::metric::SPANS;

/// The collector must have answered by then.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read, bytes.
const MOST: u64 = 64 * 1024;

/// Where traces go, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TracesConfig {
    /// A collector's address for OTLP over HTTP, such as `http://otel-collector:4318`; empty for no traces.
    pub endpoint: String,
    /// Of so many Events the way of one is traced: an exporter chooses them, the services behind it follow.
    pub one_in: u32,
}

impl Default for TracesConfig {
    fn default() -> Self {
        // At 1,000 Events a second about 40 spans.
        Self { endpoint: String::new(), one_in: 100 }
    }
}

impl TracesConfig {
    /// What is wrong with it: (key, what).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if self.one_in == 0 {
            problems.push(("traces.one_in".to_owned(), "must be at least 1; 1 traces every Event".to_owned()));
        }
        let is_url = |scheme: &str| self.endpoint.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty());
        if !self.endpoint.is_empty() && !is_url("http://") && !is_url("https://") {
            let what = "must be the address of a collector for OTLP over HTTP, such as http://otel-collector:4318";
            problems.push(("traces.endpoint".to_owned(), what.to_owned()));
        }
        problems
    }
}

/// The collector's address cannot be used. Not retryable.
#[derive(Debug, thiserror::Error)]
#[error("traces.endpoint {endpoint}: {source}")]
pub struct TracesError {
    endpoint: String,
    source: opentelemetry_otlp::ExporterBuildError,
}

/// Tells a collector of the spans of this process; nobody, by default. Cheap to clone. What a collector does not take
/// in time is lost, counted by `epicenter_trace_spans_total`; it never holds up a record.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Telling>>);

#[derive(Debug)]
struct Telling {
    processor: BatchSpanProcessor,
    one_in: u32,
}

impl Traces {
    /// Traces of the process `service`, as configured. Starts a thread, which ends with the last clone, having told what
    /// it has. Further settings, such as headers that the collector asks for, are OpenTelemetry's own variables
    /// (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_BSP_*`, `OTEL_RESOURCE_ATTRIBUTES`).
    pub fn open(config: &TracesConfig, service: &str, metrics: &Metrics) -> Result<Self, TracesError> {
        if config.endpoint.is_empty() {
            return Ok(Self::default());
        }
        let url = format!("{}/v1/traces", config.endpoint.trim_end_matches('/'));
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT)).build();
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Http(agent.into()))
            .with_endpoint(url)
            .with_timeout(TIMEOUT)
            .build()
            .map_err(|source| TracesError { endpoint: config.endpoint.clone(), source })?;
        let exporter = Counted { exporter, metrics: metrics.clone(), fails: AtomicBool::new(false) };
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        processor
            .set_resource(&Resource::builder().with_service_name(service.to_owned()).with_attribute(version).build());
        Ok(Self(Some(Arc::new(Telling { processor, one_in: config.one_in }))))
    }

    /// The beginning of the trace of a record of the cluster with that uid, if it is to have one.
    pub fn begin(&self, cluster_uid: &str, id: &str) -> Option<TraceContext> {
        TraceContext::root(cluster_uid, id, self.0.as_ref()?.one_in)
    }

    /// A record that an exporter received at `began` is in the log.
    pub fn sent(&self, own: TraceContext, topic: &str, cluster: &str, began: SystemTime) {
        let attributes = vec![
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("k8s.cluster.name", cluster.to_owned()),
        ];
        self.tell(
            None,
            own,
            SpanKind::Producer,
            format!("send {topic}"),
            topic,
            attributes,
            (began, SystemTime::now()),
        );
    }

    /// What a processor did with a record is in the log.
    pub(crate) fn processed(&self, processor: &str, partition: u32, traced: &Traced) {
        let attributes = vec![
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.consumer.group.name", processor.to_owned()),
            KeyValue::new("messaging.destination.partition.id", partition.to_string()),
            KeyValue::new("messaging.kafka.offset", traced.offset),
        ];
        let (topic, times) = (traced.topic, (traced.began, traced.ended));
        let name = format!("{processor} {topic}");
        self.tell(Some(traced.parent), traced.own, SpanKind::Consumer, name, topic, attributes, times);
    }

    /// Attributes by OpenTelemetry's conventions for messaging
    /// (opentelemetry.io/docs/specs/semconv/messaging/messaging-spans).
    #[allow(clippy::too_many_arguments)]
    fn tell(
        &self,
        parent: Option<TraceContext>,
        own: TraceContext,
        span_kind: SpanKind,
        name: String,
        topic: &str,
        mut attributes: Vec<KeyValue>,
        (start_time, end_time): (SystemTime, SystemTime),
    ) {
        let Some(telling) = &self.0 else { return };
        attributes.push(KeyValue::new("messaging.destination.name", topic.to_owned()));
        let (trace, span) = (TraceId::from_bytes(own.trace), SpanId::from_bytes(own.span));
        telling.processor.on_end(SpanData {
            span_context: SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.span)),
            parent_span_is_remote: parent.is_some(),
            span_kind,
            name: name.into(),
            start_time,
            end_time: end_time.max(start_time),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("epicenter").build(),
        });
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        // What cannot be told now is lost, and counted.
        let _ = self.processor.shutdown_with_timeout(TIMEOUT);
    }
}

/// Counts what is told, and says when that fails.
struct Counted {
    exporter: opentelemetry_otlp::SpanExporter,
    metrics: Metrics,
    fails: AtomicBool,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exporter.fmt(f)
    }
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as f64;
        let told = self.exporter.export(batch).await;
        let failed = self.fails.swap(told.is_err(), Ordering::Relaxed);
        match &told {
            Err(error) if !failed => {
                tracing::warn!(%error, "the collector of traces does not take them: they are lost")
            }
            Ok(()) if failed => tracing::info!("the collector of traces takes them again"),
            _ => {}
        }
        self.metrics.add(&SPANS, &[if told.is_ok() { "sent" } else { "lost" }], spans);
        told
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The process's HTTP client. It blocks: only the thread of the spans waits for it.
#[derive(Debug)]
struct Http(ureq::Agent);

#[async_trait::async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let answer = self.0.run(http::Request::from_parts(parts, body.to_vec()))?;
        let (parts, mut body) = answer.into_parts();
        Ok(http::Response::from_parts(parts, body.with_config().limit(MOST).read_to_vec()?.into()))
    }
}
