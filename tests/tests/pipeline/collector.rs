//! A collector of traces that keeps what it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use parking_lot::Mutex;
use prost::Message;

/// A span, and the service that told it.
#[derive(Clone, Debug)]
pub struct Span {
    pub service: String,
    pub name: String,
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    pub parent: Vec<u8>,
}

/// Takes OTLP over HTTP on loopback. Its threads end with the process.
pub struct Collector {
    port: u16,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, spans) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<Span>>>::default());
        let kept = Arc::clone(&spans);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(stream.unwrap(), &kept));
            }
        });
        Self { port, spans }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The spans of a trace in which each has the one before as its parent, as far as they have come, of the trace that
    /// has come farthest: `service: name`.
    pub fn longest_way(&self) -> Vec<String> {
        let spans = self.spans.lock();
        let after = |span: &&Span| spans.iter().find(|next| next.trace == span.trace && next.parent == span.id);
        let begins = spans.iter().filter(|span| span.parent.is_empty());
        let ways = begins.map(|first| std::iter::successors(Some(first), after).collect::<Vec<_>>());
        let longest = ways.max_by_key(Vec::len).unwrap_or_default();
        longest.iter().map(|span| format!("{}: {}", span.service, span.name)).collect()
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Span>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        let head = head.to_lowercase();
        assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        for of_service in request.resource_spans {
            let attributes = of_service.resource.unwrap().attributes;
            let service = attributes.into_iter().find(|attribute| attribute.key == "service.name").unwrap();
            let service = format!("{:?}", service.value.unwrap().value.unwrap());
            let service = service.split('"').nth(1).unwrap().to_owned();
            for span in of_service.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                assert!(span.end_time_unix_nano >= span.start_time_unix_nano && span.start_time_unix_nano > 0);
                let (trace, id, parent) = (span.trace_id, span.span_id, span.parent_span_id);
                kept.lock().push(Span { service: service.clone(), name: span.name, trace, id, parent });
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}
